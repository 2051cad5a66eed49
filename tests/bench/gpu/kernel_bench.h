// Times the kernels that most of a step's time goes to, each alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "tests/bench/gpu/bench_plan.h"

namespace quire {

// Attention of one layer in a step in which every sequence has the same number of new tokens: 1, or more of a prompt.
struct AttentionTiming {
  int batch = 0;
  int context = 0;
  int tokens = 0;  // New ones, of each sequence.
  KvTypes kv;
  double seconds = 0;
  double gigabytes_per_second = 0;  // Of K and V, each read once.
  double teraflops = 0;             // Of what new tokens see; a multiply-add counts as two.
};

// One of a layer's matrix products, or that of the output head.
struct MatMulTiming {
  std::string matrix;  // "qkv", "output", "gate_up", "down", "head"
  WeightTypes weights;
  int64_t rows = 0;  // Of the input.
  double seconds = 0;
  double gigabytes_per_second = 0;  // Of weights.
  double graph_seconds = 0;         // The same replayed as a graph, as steps of generated tokens are.
  double graph_gigabytes_per_second = 0;
  double teraflops = 0;  // A multiply-add counts as two.
};

// Points for which memory cannot be had are left out, and named on stderr. Any other error ends the measurement.
absl::StatusOr<std::vector<AttentionTiming>> BenchAttention(const BenchPlan& plan);
absl::StatusOr<std::vector<MatMulTiming>> BenchMatMul(const BenchPlan& plan, Ops& ops);

}  // namespace quire
