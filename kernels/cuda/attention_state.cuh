// The running state of softmax-weighted sums and how two are added up (arXiv:1805.02867). Every rounding is spelt out,
// lest a compiler fuse here what it does not fuse there: several kernels have to get the same bits.
#pragma once

#include <cmath>

#include "kernels/cuda/device.cuh"

namespace quire {

// Of one row over some positions: weights are 2^(score - max). Without positions it is as it begins.
struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0;  // Of weights.
};

// Adds positions to `state` that have the sum `sum` of weights with regard to `max`, which is at least state.max.
// Returns by what the state's weighted values are to be multiplied before those positions' are added.
__device__ __forceinline__ float AddWeights(SoftmaxState& state, float max, float sum) {
  const float kept = Exp2(__fsub_rn(state.max, max));
  state.sum = __fmaf_rn(state.sum, kept, sum);
  state.max = max;
  return kept;
}

// By what the two sides' weighted values are multiplied.
struct MergeFactors {
  float kept = 1;
  float added = 0;
};

// Adds the positions of `next`, which is not empty, to `state`.
__device__ __forceinline__ MergeFactors MergeState(SoftmaxState& state, const SoftmaxState& next) {
  const float max = fmaxf(state.max, next.max);
  const MergeFactors factors{Exp2(__fsub_rn(state.max, max)), Exp2(__fsub_rn(next.max, max))};
  state.sum = __fmaf_rn(state.sum, factors.kept, __fmul_rn(next.sum, factors.added));
  state.max = max;
  return factors;
}

__device__ __forceinline__ float MergeWeighted(float weighted, float next, const MergeFactors& factors) {
  return __fmaf_rn(weighted, factors.kept, __fmul_rn(next, factors.added));
}

}  // namespace quire
