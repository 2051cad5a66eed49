// Times the kernels that most of a step's time goes to, each alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "tests/bench/gpu/bench_plan.h"

namespace quire {

// Attention of one layer in a step in which every sequence generates one token.
struct AttentionTiming {
  int batch = 0;
  int context = 0;
  KvTypes kv;
  double seconds = 0;
  double gigabytes_per_second = 0;  // Of K and V, each read once.
};

// One of a layer's matrix products, or that of the output head.
struct MatMulTiming {
  std::string matrix;  // "qkv", "output", "gate_up", "down", "head"
  DType dtype = DType::kBF16;
  int64_t rows = 0;  // Of the input.
  double seconds = 0;
  double gigabytes_per_second = 0;  // Of weights.
  double teraflops = 0;             // A multiply-add counts as two.
};

// Points for which memory cannot be had are left out, and named on stderr. Any other error ends the measurement.
absl::StatusOr<std::vector<AttentionTiming>> BenchAttention(const BenchPlan& plan);
absl::StatusOr<std::vector<MatMulTiming>> BenchMatMul(const BenchPlan& plan, Ops& ops);

}  // namespace quire
