// One segment of a row of logits in a warp's registers, and the arithmetic of weights. See sample.h.
//
// Products and sums that could be fused are written with intrinsics that are not, or that always are: bits must not
// depend on the compiler's choice, and penalties must round as the CPU's do.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_plan.h"

namespace quire {

constexpr int kLogitsPerLane = kSegmentLogits / kWarpSize;
constexpr int kMaxSegments = kMaxSampleVocab / kSegmentLogits;

// A weight in [0, 1], and sums of up to kMaxSampleVocab of them, in units of 2^-44.
using Mass = uint64_t;
constexpr float kMassOfOne = 0x1p44f;

__device__ __forceinline__ float NegativeInfinity() { return __uint_as_float(0xff800000u); }
__device__ __forceinline__ float NotANumber() { return __uint_as_float(0x7fc00000u); }
__device__ __forceinline__ bool IsFinite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// Ascends with the float; both zeros have the same. A positive NaN comes after everything else.
__device__ __forceinline__ uint32_t OrderedBits(float x) {
  const uint32_t bits = x == 0 ? 0 : __float_as_uint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float FromOrderedBits(uint32_t ordered) {
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}
// Of the least finite float: what is below it is never chosen.
constexpr uint32_t kLowestBits = 0x00800000u;

// e^x for x <= 0, and 0 from -87 down: 2^n e^r with n = round(x / ln 2) and a Taylor polynomial for |r| <= (ln 2) / 2.
__device__ __forceinline__ float Exponential(float x) {
  constexpr float kLowest = -87.0f;  // Above the subnormals, where building 2^n from exponent bits would fail.
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // Few bits; the rest of ln 2 follows.
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low mantissa bits.
  const float clamped = x > kLowest ? x : kLowest;
  const float shifted = __fmaf_rn(clamped, kLog2E, kRound);
  const float n = __fsub_rn(shifted, kRound);
  const float r = __fmaf_rn(-n, kLn2Low, __fmaf_rn(-n, kLn2High, clamped));
  float series = __fmaf_rn(r, 1.0f / 5040, 1.0f / 720);
  series = __fmaf_rn(series, r, 1.0f / 120);
  series = __fmaf_rn(series, r, 1.0f / 24);
  series = __fmaf_rn(series, r, 1.0f / 6);
  series = __fmaf_rn(series, r, 0.5f);
  series = __fadd_rn(__fmaf_rn(__fmul_rn(r, r), series, r), 1.0f);
  const float power = __uint_as_float((__float_as_uint(shifted) + 127) << 23);
  return x > kLowest ? __fmul_rn(series, power) : 0.0f;
}

// exp((logit - maximum) * inverse_temperature). REQUIRES: logit <= maximum, which is finite.
__device__ __forceinline__ float Weight(float logit, float maximum, float inverse_temperature) {
  return Exponential(__fmul_rn(__fsub_rn(logit, maximum), inverse_temperature));
}

__device__ __forceinline__ Mass ToMass(float weight) { return static_cast<Mass>(__fmul_rn(weight, kMassOfOne)); }

template <typename T>
__device__ __forceinline__ T Larger(T a, T b) {
  return a < b ? b : a;
}
template <typename T>
__device__ __forceinline__ T Smaller(T a, T b) {
  return b < a ? b : a;
}

// Combines the lanes' x, the same in every lane. `combine` is exact, so that the order does not matter. Warp
// collective.
template <typename T, typename Combine>
__device__ __forceinline__ T CombineWarp(T x, Combine combine) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) x = combine(x, ShuffleXor(x, mask));
  return x;
}
template <typename T>
__device__ __forceinline__ T SumOfWarp(T x) {
  return CombineWarp(x, [](T a, T b) { return a + b; });
}

// The sum of the x of this lane and of those before it. Warp collective.
__device__ __forceinline__ uint64_t SumThroughLane(uint64_t x) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint64_t before = Shuffle(x, lane - distance);
    if (lane >= distance) x += before;
  }
  return x;
}

// Of a lane: logit i is that of token 32 * i + lane of the segment. -infinity beyond the vocabulary.
struct SegmentLogits {
  float values[kLogitsPerLane];
};

// All in global memory.
struct PlannedRowView {
  const PlannedRow& planned;
  const std::byte* plan;
  const float* logits;
  int vocab_size;
  int num_segments;

  template <typename T>
  __device__ __forceinline__ const T* At(uint32_t offset) const {
    return reinterpret_cast<const T*>(plan + offset);
  }
};

__device__ __forceinline__ SegmentLogits LoadSegment(const PlannedRowView& row, int segment) {
  const int first = segment * kSegmentLogits + static_cast<int>(threadIdx.x) % kWarpSize;
  SegmentLogits logits;
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) {
    const int token = first + i * kWarpSize;
    logits.values[i] = token < row.vocab_size ? row.logits[token] : NegativeInfinity();
  }
  return logits;
}

__device__ __forceinline__ float AdjustedLogit(float logit, const TokenAdjustment& adjustment, const PlannedRow& row) {
  logit = __fadd_rn(logit, adjustment.bias);
  if (adjustment.forbidden) return NegativeInfinity();
  if (!adjustment.seen) return logit;
  logit = logit > 0 ? __fdiv_rn(logit, row.repetition_penalty) : __fmul_rn(logit, row.repetition_penalty);
  logit = __fsub_rn(logit, __fmul_rn(row.frequency_penalty, static_cast<float>(adjustment.output_count)));
  return adjustment.output_count > 0 ? __fsub_rn(logit, row.presence_penalty) : logit;
}

// What the row is to choose from: logits with its adjustments and without what is not allowed. `exchange` is the
// warp's, [kSegmentLogits] in shared memory. Warp collective.
__device__ __forceinline__ void AdjustSegment(const PlannedRowView& row, int segment, float* exchange,
                                              SegmentLogits& logits) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const PlannedRow& planned = row.planned;
  if (planned.allowed != 0) {
    const uint32_t* words = row.At<uint32_t>(planned.allowed) + segment * kLogitsPerLane;
#pragma unroll
    for (int i = 0; i < kLogitsPerLane; ++i) {
      if ((words[i] >> lane & 1) == 0) logits.values[i] = NegativeInfinity();
    }
  }
  if (planned.adjustments == 0) return;
  const int32_t* indptr = row.At<int32_t>(planned.adjustment_indptr) + segment;
  const int end = indptr[1];
  if (indptr[0] == end) return;
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) exchange[i * kWarpSize + lane] = logits.values[i];
  SyncWarp();
  const TokenAdjustment* adjustments = row.At<TokenAdjustment>(planned.adjustments);
  for (int i = indptr[0] + lane; i < end; i += kWarpSize) {
    float& logit = exchange[adjustments[i].token % kSegmentLogits];
    logit = AdjustedLogit(logit, adjustments[i], planned);
  }
  SyncWarp();
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) logits.values[i] = exchange[i * kWarpSize + lane];
}

// What the first kernel notes of a segment.
struct SegmentSummary {
  float maximum;       // Before adjustments; NaN where a logit is not finite.
  float sum;           // Of exp(logit - maximum).
  float best;          // The largest logit after adjustments,
  int32_t best_token;  // and the lowest token that has it.
  float weight;        // Sum of the weights after adjustments, where that of `best` is 1; 0 for greedy rows.
};

}  // namespace quire
