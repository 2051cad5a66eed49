#include "tests/bench/gpu/throughput_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <utility>

#include "engine/engine.h"
#include "engine/model/rope.h"
#include "engine/runner/local_model_runner.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"
#include "tests/bench/gpu/repeated_weights.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

constexpr int kPageSize = 32;
// Of what is free beside the weights; the rest is for activations.
constexpr double kKvCacheShare = 0.8;

ModelConfig ConfigOf(const BenchPlan& plan) {
  const ModelShape& shape = plan.model;
  ModelConfig config;
  config.vocab_size = shape.vocab_size;
  config.hidden_size = shape.hidden_size;
  config.intermediate_size = shape.intermediate_size;
  config.num_layers = shape.num_layers;
  config.num_heads = shape.num_heads;
  config.num_kv_heads = shape.num_kv_heads;
  config.head_dim = shape.head_dim;
  config.context_length = 8192;
  config.norm_epsilon = 1e-5f;
  RopeScaling scaling;
  scaling.dimensions = shape.head_dim;
  scaling.base = 500000;
  config.inverse_frequencies = InverseFrequencies(scaling).value();
  QUIRE_CHECK(Validate(config).ok());
  return config;
}

absl::StatusOr<LayerWeights> MakeLayer(const ModelConfig& config, const WeightTypes& types, RepeatedWeights& source,
                                       Ops& ops) {
  const std::vector<float> ones(config.hidden_size, 1.0f);
  const auto pack = [&](int64_t rows, int64_t cols) {
    const RawMatrix raw = source.Matrix(types.dtype, rows, cols);
    return ops.Pack({&raw, 1}, types.precision);
  };
  LayerWeights layer;
  ASSIGN_OR_RETURN(layer.attention_norm, ops.Upload(ones));
  ASSIGN_OR_RETURN(layer.feed_forward_norm, ops.Upload(ones));
  ASSIGN_OR_RETURN(layer.qkv, pack(config.qkv_size(), config.hidden_size));
  ASSIGN_OR_RETURN(layer.attention_output, pack(config.hidden_size, config.query_size()));
  const RawMatrix gate = source.Matrix(types.dtype, config.intermediate_size, config.hidden_size);
  ASSIGN_OR_RETURN(layer.gate_up, ops.PackGated(gate, gate, types.precision));
  ASSIGN_OR_RETURN(layer.down, pack(config.hidden_size, config.intermediate_size));
  return layer;
}

absl::StatusOr<LoadedModel> MakeModel(const BenchPlan& plan, const WeightTypes& types, Ops& ops) {
  RepeatedWeights source;
  LoadedModel model;
  model.name = plan.model.name;
  model.config = ConfigOf(plan);
  model.precision = types.precision;
  ASSIGN_OR_RETURN(model.tokenizer, MakeTokenizer(TinyTokenizerSpec({})));  // Only asked which tokens end a text.
  const std::vector<float> ones(model.config.hidden_size, 1.0f);
  const auto pack_head = [&] {
    const RawMatrix raw = source.Matrix(types.dtype, model.config.vocab_size, model.config.hidden_size);
    return ops.Pack({&raw, 1}, WeightPrecision::kAsStored);
  };
  ASSIGN_OR_RETURN(model.weights.embedding, pack_head());
  ASSIGN_OR_RETURN(model.weights.output_head, pack_head());
  ASSIGN_OR_RETURN(model.weights.output_norm, ops.Upload(ones));
  for (int i = 0; i < model.config.num_layers; ++i) {
    ASSIGN_OR_RETURN(model.weights.layers.emplace_back(), MakeLayer(model.config, types, source, ops));
  }
  return model;
}

EngineOptions OptionsFor(const BenchPlan& plan, const Lengths& lengths, int num_blocks) {
  EngineOptions options;
  options.max_model_len = lengths.input + lengths.output;
  options.max_num_seqs = std::min(plan.num_sequences, plan.step_tokens);
  options.max_num_batched_tokens = plan.step_tokens;
  options.max_waiting_requests = plan.num_sequences;
  options.max_waiting_tokens = int64_t{plan.num_sequences} * options.max_model_len;
  options.vocab_size = plan.model.vocab_size;
  options.blocks = {.num_blocks = num_blocks, .block_size = kPageSize, .enable_prefix_caching = false};
  return options;
}

// The whole pool is there for all lengths, or as much as their requests could use at most.
absl::StatusOr<std::unique_ptr<KvCache>> MakeKvCache(const BenchPlan& plan, Ops& ops) {
  KvLayout layout = {.num_layers = plan.model.num_layers,
                     .num_heads = plan.model.num_heads,
                     .num_kv_heads = plan.model.num_kv_heads,
                     .head_dim = plan.model.head_dim,
                     .page_size = kPageSize};
  int64_t pages = 0;
  for (const Lengths& lengths : plan.lengths) {
    const int64_t of_one = (lengths.input + lengths.output + kPageSize - 1) / kPageSize;
    pages = std::max(pages, plan.num_sequences * of_one);
  }
  const auto free_bytes = static_cast<double>(ops.FreeDeviceMemory().value_or(0));
  const auto that_fit = static_cast<int64_t>(kKvCacheShare * free_bytes / static_cast<double>(layout.BytesPerPage()));
  layout.num_pages = static_cast<int>(std::min(pages, that_fit));
  return ops.AllocateKvCache(layout);
}

absl::Status Submit(Engine& engine, int num_sequences, const Lengths& lengths, int vocab_size) {
  std::mt19937 random(20261124);
  std::uniform_int_distribution<TokenId> token(0, vocab_size - 1);
  for (int i = 0; i < num_sequences; ++i) {
    GenerateRequest request;
    request.id = i;
    for (int t = 0; t < lengths.input; ++t) request.prompt.push_back(token(random));
    request.sampling = {.temperature = 0, .max_tokens = lengths.output, .ignore_eos = true};
    RETURN_IF_ERROR(engine.Submit(std::move(request), absl::Now()));
  }
  return absl::OkStatus();
}

// Seconds until all requests have ended.
absl::StatusOr<double> Run(ModelRunner& runner, const EngineOptions& options, int num_sequences,
                           const Lengths& lengths) {
  Engine engine(options, runner);
  RETURN_IF_ERROR(Submit(engine, num_sequences, lengths, options.vocab_size));
  const auto start = std::chrono::steady_clock::now();
  while (engine.HasWork()) {
    for (const SequenceOutput& output : engine.Step(absl::Now()).outputs) RETURN_IF_ERROR(output.status);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  QUIRE_CHECK(engine.stats().completion_tokens_total == static_cast<uint64_t>(num_sequences) * lengths.output);
  return seconds;
}

}  // namespace

absl::Status BenchThroughput(const BenchPlan& plan, const WeightTypes& weights, CudaOps& ops,
                             absl::FunctionRef<void(const ThroughputTiming&)> report) {
  ASSIGN_OR_RETURN(const LoadedModel model, MakeModel(plan, weights, ops));
  ASSIGN_OR_RETURN(const std::unique_ptr<KvCache> kv_cache, MakeKvCache(plan, ops));
  ASSIGN_OR_RETURN(const std::unique_ptr<ModelRunner> runner,
                   LocalModelRunner::Make(model, ops, *kv_cache, plan.step_tokens));
  const int num_blocks = kv_cache->layout().num_pages;
  bool is_warm = false;
  for (const Lengths& lengths : plan.lengths) {
    const EngineOptions options = OptionsFor(plan, lengths, num_blocks);
    RETURN_IF_ERROR(Engine::ValidateOptions(options));
    if (!std::exchange(is_warm, true)) {
      RETURN_IF_ERROR(Run(*runner, options, plan.num_sequences, {lengths.input, 2}).status());
    }
    const CudaStepCounts before = ops.step_counts();
    ASSIGN_OR_RETURN(const double seconds, Run(*runner, options, plan.num_sequences, lengths));
    report({weights, lengths, plan.num_sequences, int64_t{num_blocks} * kPageSize, seconds,
            static_cast<double>(plan.num_sequences) * lengths.output / seconds, ops.step_counts() - before});
  }
  return absl::OkStatus();
}

}  // namespace quire
