// What gpu_bench measures: shapes of Llama-3-8B, or of something tiny that only shows that everything runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "kernels/ops.h"
#include "tests/kernels/kv_types.h"

namespace quire {

struct ModelShape {
  std::string name;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
};

// What a model's weights are, as a file would store them and as its layers' matrices are packed.
struct WeightTypes {
  DType dtype = DType::kBF16;
  WeightPrecision precision = WeightPrecision::kAsStored;
};

// "BF16", "FP8".
std::string NameOf(const WeightTypes& types);

// Tokens of each request's prompt and answer.
struct Lengths {
  int input = 0;
  int output = 0;
};

// Prompts of one step: the last `tokens` of each of `batch` contexts are new.
struct PromptShape {
  int batch = 0;
  int context = 0;
  int tokens = 0;
};

struct BenchPlan {
  ModelShape model;
  int repeats = 0;  // Of a kernel's timing; the median counts.
  // By the kernels of one timing at least, so that it does not all come from the GPU's cache.
  int64_t bytes_to_read = 0;
  std::vector<int> batches;
  std::vector<int> contexts;
  std::vector<PromptShape> prompts;
  std::vector<KvTypes> kv_types;
  std::vector<int> row_counts;
  std::vector<WeightTypes> matmul_types;
  std::vector<Lengths> lengths;
  std::vector<WeightTypes> throughput_types;
  // Requests of a throughput measurement: all there from the beginning, and running at once if they fit.
  int num_sequences = 0;
  int step_tokens = 0;  // The most that a step has.
};

BenchPlan WholePlan();
// Fewer points of it, in about a minute.
BenchPlan QuickPlan();
BenchPlan SmallPlan();

}  // namespace quire
