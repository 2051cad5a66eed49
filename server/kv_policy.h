// What of a sequence's KV is kept: all of it, the model's own sliding window, or sinks and a window (--kv-policy).
#pragma once

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/scheduler/kv_window.h"

namespace quire {

struct KvPolicyOptions {
  bool sink_window = false;  // Else everything that the model looks at.
  int sink_tokens = -1;      // -1: one page.
  int window_tokens = 0;     // 0: as many as the model was trained for, beside the sinks.
};

// How long a sequence may be where its pages do not limit it and the options do not say.
inline constexpr int kEndlessModelLen = 1 << 20;

// A model with a sliding window of its own drops what lies behind it, which changes no output. INVALID_ARGUMENT names
// the flag.
absl::StatusOr<KvWindow> MakeKvWindow(const KvPolicyOptions& options, const ModelConfig& config, int block_size);

}  // namespace quire
