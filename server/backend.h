// Backend: everything below the network, put together from options: kernels, the model, its page pool, the runner.
// `serve` and the offline benchmark start from the same one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/model/loaded_model.h"
#include "engine/runner/model_runner.h"
#include "kernels/ops.h"
#include "server/kv_policy.h"

namespace quire {

// What `auto` stands for.
inline constexpr KvDType kDefaultKvDType = KvDType::kBF16;

struct KvDTypeOptions {
  KvDType key = kDefaultKvDType;
  std::optional<KvDType> value;  // Unset: that of K.
};

struct BackendOptions {
  std::string model_path;
  std::string model_name;       // Empty: the file's name.
  Device device = Device::kAuto;
  int threads = 0;              // 0: the processors this process may run on.
  std::string instruction_set;  // Empty: the best there is.
  WeightPrecision precision = WeightPrecision::kAsStored;  // Of the matrices of layers.
  int max_model_len = 0;        // 0: the model's own length, as far as the pool allows; see also kEndlessModelLen.
  int max_num_seqs = 256;
  int max_num_batched_tokens = 0;  // 0: what suits the device, at least max_num_seqs and the sinks of one sequence.
  int block_size = 32;
  int64_t kv_cache_bytes = 0;  // 0: what max_num_seqs sequences can use, as far as DefaultPoolBytes allows.
  KvDTypeOptions kv_dtypes;
  KvPolicyOptions kv_policy;
  bool enable_prefix_caching = true;
  double max_pinned_share = 0.5;  // See EngineOptions.
  bool recompute_always = false;
  int max_waiting_requests = 1024;
};

// Members are destroyed in reverse order: the runner before what it borrows.
struct Backend {
  // Of the Ops, as they describe themselves, over this model's weights.
  std::string Description() const;
  std::string Arithmetic() const;

  std::unique_ptr<Ops> ops;
  LoadedModel model;
  std::unique_ptr<KvCache> kv_cache;
  std::unique_ptr<ModelRunner> runner;
  EngineOptions engine_options;
};

// How the model's keys and values lie in pages of `block_size` tokens; num_pages is 0.
KvLayout MakeKvLayout(const ModelConfig& config, int block_size, const KvDTypeOptions& dtypes);

// INVALID_ARGUMENT names the option (as its flag) and what would be right; RESOURCE_EXHAUSTED says which flag to lower.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options, const LoadProgress& progress);

}  // namespace quire
