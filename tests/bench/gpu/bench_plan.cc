#include "tests/bench/gpu/bench_plan.h"

namespace quire {
namespace {

constexpr WeightTypes kFloat8Weights = {DType::kBF16, WeightPrecision::kFloat8};

}  // namespace

std::string NameOf(const WeightTypes& types) {
  return types.precision == WeightPrecision::kFloat8 ? "FP8" : std::string(TraitsOf(types.dtype).name);
}

BenchPlan WholePlan() {
  return {.model = {.name = "Llama-3-8B",
                    .hidden_size = 4096,
                    .intermediate_size = 14336,
                    .num_layers = 32,
                    .num_heads = 32,
                    .num_kv_heads = 8,
                    .head_dim = 128,
                    .vocab_size = 128256},
          .repeats = 20,
          .bytes_to_read = int64_t{512} << 20,
          .batches = {1, 8, 32, 128, 256},
          .contexts = {512, 2048, 8192, 32768},
          .prompts = {{1, 2048, 2048}, {8, 2048, 2048}, {1, 8192, 8192}, {1, 32768, 4096}},
          .kv_types = {kBFloat16Kv, kInt8Kv, kFp8Kv},
          .row_counts = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096},
          .matmul_types = {{DType::kBF16}, kFloat8Weights, {DType::kQ4_1}, {DType::kQ8_0}},
          .lengths = {{128, 128}, {128, 2048}, {1000, 1000}, {2048, 2048}},
          .throughput_types = {{DType::kBF16}, kFloat8Weights, {DType::kQ8_0}},
          .num_sequences = 512,
          .step_tokens = 4096};
}

BenchPlan QuickPlan() {
  BenchPlan plan = WholePlan();
  plan.repeats = 7;
  plan.batches = {1, 32, 128};
  plan.contexts = {4096};
  plan.row_counts = {1, 16, 64, 256, 512, 4096};
  plan.lengths = {{128, 128}};
  return plan;
}

BenchPlan SmallPlan() {
  BenchPlan plan = WholePlan();
  plan.model = {.name = "a tiny model",
                .hidden_size = 128,
                .intermediate_size = 192,
                .num_layers = 2,
                .num_heads = 4,
                .num_kv_heads = 2,
                .head_dim = 32,
                .vocab_size = 512};
  plan.repeats = 2;
  plan.bytes_to_read = 0;
  plan.batches = {1, 3};
  plan.contexts = {70};
  plan.prompts = {{2, 40, 20}};
  plan.row_counts = {1, 9};
  plan.lengths = {{8, 3}};
  plan.num_sequences = 3;
  plan.step_tokens = 16;
  return plan;
}

}  // namespace quire
