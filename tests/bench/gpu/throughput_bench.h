// Tokens a second of the whole engine over a model with random weights: many requests of one length, all there from the
// beginning.
#pragma once

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/bench/gpu/bench_plan.h"

namespace quire {

struct ThroughputTiming {
  WeightTypes weights;  // The KV cache is in bfloat16.
  Lengths lengths;
  int num_sequences = 0;
  int64_t cached_tokens = 0;     // That the KV cache has room for.
  double seconds = 0;            // From the first step to the end of the last request.
  double tokens_per_second = 0;  // Of output.
  CudaStepCounts counts;         // Of these steps.
};

// Measures plan.lengths with weights of one kind and hands out each timing as it is there. RESOURCE_EXHAUSTED when the
// weights do not fit.
absl::Status BenchThroughput(const BenchPlan& plan, const WeightTypes& weights, CudaOps& ops,
                             absl::FunctionRef<void(const ThroughputTiming&)> report);

}  // namespace quire
