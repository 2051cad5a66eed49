#include "server/backend.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/runner/local_model_runner.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"
#include "server/available_memory.h"
#include "server/kv_budget.h"
#include "spdlog/spdlog.h"

namespace quire {
namespace {

absl::Status CheckBatchedTokens(const BackendOptions& options, const KvWindow& window) {
  const int least = options.max_num_seqs + window.sink_tokens;
  if (options.max_num_batched_tokens == 0 || options.max_num_batched_tokens >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--max-num-batched-tokens must be at least ", least, ", --max-num-seqs",
                   window.sink_tokens > 0 ? " and the sinks of one sequence" : "",
                   ", so that every running sequence can take a step, got ", options.max_num_batched_tokens));
}

// A CPU computes no faster with more; a GPU needs them to be busy.
int DefaultBatchedTokens(const Ops& ops) { return ops.FreeDeviceMemory() ? 4096 : 256; }

// What follows the description of what computes.
std::string_view OfWeights(const LoadedModel& model) {
  return model.precision == WeightPrecision::kFloat8 ? ", layers in fp8" : "";
}

}  // namespace

std::string Backend::Description() const { return absl::StrCat(ops->Description(), AbslView(OfWeights(model))); }

std::string Backend::Arithmetic() const { return absl::StrCat(ops->Arithmetic(), AbslView(OfWeights(model))); }

KvLayout MakeKvLayout(const ModelConfig& config, int block_size, const KvDTypeOptions& dtypes) {
  KvLayout layout;
  layout.num_layers = config.num_layers;
  layout.num_heads = config.num_heads;
  layout.num_kv_heads = config.num_kv_heads;
  layout.head_dim = config.head_dim;
  layout.page_size = block_size;
  layout.key_dtype = dtypes.key;
  layout.value_dtype = dtypes.value.value_or(dtypes.key);
  return layout;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options, const LoadProgress& progress) {
  auto backend = std::make_unique<Backend>();
  const auto warn = [](const std::string& warning) { spdlog::warn("{}", warning); };
  absl::StatusOr<std::unique_ptr<Ops>> ops =
      MakeOps({.device = options.device,
               .cpu = {.num_threads = options.threads, .instruction_set = options.instruction_set, .warn = warn},
               .cuda = {.warn = warn}});
  if (!ops.ok()) return options.device == Device::kCuda ? Annotate(ops.status(), "--device cuda") : ops.status();
  backend->ops = *std::move(ops);
  if (!backend->ops->can_pack(options.precision)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--quantization fp8 needs a GPU, got ", backend->ops->Description()));
  }
  ASSIGN_OR_RETURN(backend->model, LoadModel(options.model_path, *backend->ops, progress, options.precision));
  if (!options.model_name.empty()) backend->model.name = options.model_name;
  const ModelConfig& config = backend->model.config;

  ASSIGN_OR_RETURN(const KvWindow window, MakeKvWindow(options.kv_policy, config, options.block_size));
  RETURN_IF_ERROR(CheckBatchedTokens(options, window));
  KvLayout layout = MakeKvLayout(config, options.block_size, options.kv_dtypes);
  const int64_t default_bytes = DefaultPoolBytes(backend->ops->FreeDeviceMemory(), AvailableMemory());
  ASSIGN_OR_RETURN(const KvBudget budget, PlanKvBudget(options, layout, config.context_length, default_bytes, window));
  layout.num_pages = budget.num_pages;
  absl::StatusOr<std::unique_ptr<KvCache>> kv_cache = backend->ops->AllocateKvCache(layout);
  if (!kv_cache.ok()) {
    const bool invalid = absl::IsInvalidArgument(kv_cache.status());
    return absl::Status(kv_cache.status().code(),
                        absl::StrCat(invalid ? "--kv-cache-dtype and --kv-cache-dtype-v: "
                                             : "the page pool cannot be had, lower --kv-cache-memory: ",
                                     std::string(kv_cache.status().message())));
  }
  backend->kv_cache = *std::move(kv_cache);

  EngineOptions& engine = backend->engine_options;
  engine.max_model_len = budget.max_model_len;
  engine.max_num_seqs = options.max_num_seqs;
  engine.max_num_batched_tokens = options.max_num_batched_tokens > 0
                                      ? options.max_num_batched_tokens
                                      : std::max(options.max_num_seqs + window.sink_tokens, DefaultBatchedTokens(*backend->ops));
  engine.max_waiting_requests = options.max_waiting_requests;
  engine.max_waiting_tokens = std::max<int64_t>(engine.max_waiting_tokens, engine.max_model_len);
  engine.vocab_size = config.vocab_size;
  engine.eos_token_ids = backend->model.tokenizer->end_tokens();
  engine.blocks.num_blocks = layout.num_pages;
  engine.blocks.block_size = layout.page_size;
  engine.blocks.enable_prefix_caching = options.enable_prefix_caching;
  engine.kv_window = window;
  engine.max_pinned_share = options.max_pinned_share;
  engine.recompute_always = options.recompute_always;
  ASSIGN_OR_RETURN(backend->runner, LocalModelRunner::Make(backend->model, *backend->ops, *backend->kv_cache,
                                                           engine.max_num_batched_tokens));
  return backend;
}

}  // namespace quire
