// `quire plan`: what a model, a context length and a concurrency need, before anything is started.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "server/backend.h"

namespace quire {

struct PlanOptions {
  std::string model_path;
  int context = 0;      // Tokens of one sequence; 0: the model's own length.
  int concurrency = 8;  // Sequences of that length at once.
  int block_size = 32;
  KvDTypeOptions kv_dtypes;
  KvPolicyOptions kv_policy;
};

// All sizes in bytes.
struct MemoryPlan {
  int context = 0;
  int concurrency = 0;
  int64_t weight_bytes = 0;
  int64_t kv_bytes_per_token = 0;  // Of K and V, in all layers and KV heads.
  int64_t pages_per_sequence = 0;
  int64_t pages = 0;
  int64_t kv_bytes = 0;
  int64_t available_bytes = 0;     // On this machine, now.
  int64_t sequences_that_fit = 0;  // Of `context` tokens, beside the weights.
};

// For a model of this shape and these weights, on a machine with so much memory. INVALID_ARGUMENT names the flag.
absl::StatusOr<MemoryPlan> PlanFor(const ModelConfig& config, int64_t weight_bytes, int64_t available_bytes,
                                   const PlanOptions& options);
// Reads the model's metadata only. As PlanFor, and what is wrong with the file.
absl::StatusOr<MemoryPlan> MakePlan(const PlanOptions& options);

void AddPlanCommand(CLI::App& app, int* exit_code);

}  // namespace quire
