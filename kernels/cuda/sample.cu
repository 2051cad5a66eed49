#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/sample_choice.cuh"
#include "kernels/cuda/sample_segment.cuh"

namespace quire {
namespace {

constexpr int kMaxSummaryWarps = 8;

struct SampleInput {
  const float* logits;
  int64_t stride;
  int vocab_size;
  int num_segments;
  const std::byte* plan;

  __device__ PlannedRowView Row(unsigned index) const {
    const PlannedRow& planned = reinterpret_cast<const PlannedRow*>(plan)[index];
    return {planned, plan, logits + planned.logits_row * stride, vocab_size, num_segments};
  }
};

// The largest of the segment's logits; NaN where one is not finite. Warp collective.
__device__ float MaximumOf(const SegmentLogits& logits, int num_logits) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  bool finite = true;
  float maximum = NegativeInfinity();
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) {
    finite = finite && (i * kWarpSize + lane >= num_logits || IsFinite(logits.values[i]));
    maximum = fmaxf(maximum, logits.values[i]);
  }
  maximum = WarpMax(maximum);
  return Any(!finite) ? NotANumber() : maximum;
}

// The place in the segment of the first logit that is equal to `best`, which some are. Warp collective.
__device__ int FirstEqual(const SegmentLogits& logits, float best) {
  int first = kSegmentLogits;
#pragma unroll
  for (int i = kLogitsPerLane - 1; i >= 0; --i) {
    if (logits.values[i] == best) first = i * kWarpSize + static_cast<int>(threadIdx.x) % kWarpSize;
  }
  return CombineWarp(first, [](int a, int b) { return Smaller(a, b); });
}

// Neighbours are added first, so that the error grows with the depth of a tree only. Warp collective.
__device__ float SumOfWeights(const SegmentLogits& logits, float maximum, float inverse_temperature) {
  float sums[kLogitsPerLane];
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) sums[i] = Weight(logits.values[i], maximum, inverse_temperature);
#pragma unroll
  for (int width = kLogitsPerLane / 2; width > 0; width /= 2) {
#pragma unroll
    for (int i = 0; i < width; ++i) sums[i] = __fadd_rn(sums[2 * i], sums[2 * i + 1]);
  }
  return WarpSum(sums[0]);
}

// Blocks (b, r) summarise the segments of row r, one a warp.
__global__ void __launch_bounds__(kMaxSummaryWarps* kWarpSize)
    SummarizeSegmentsKernel(SampleInput input, SegmentSummary* summaries) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int segment = static_cast<int>(blockIdx.x * blockDim.x) / kWarpSize + warp;
  if (segment >= input.num_segments) return;  // The whole warp; no barrier of the block follows.
  const PlannedRowView row = input.Row(blockIdx.y);
  SegmentLogits logits = LoadSegment(row, segment);
  const int num_logits = min(kSegmentLogits, input.vocab_size - segment * kSegmentLogits);

  SegmentSummary summary;
  summary.maximum = MaximumOf(logits, num_logits);
  summary.sum = IsFinite(summary.maximum) ? SumOfWeights(logits, summary.maximum, 1) : 0;
  AdjustSegment(row, segment, reinterpret_cast<float*>(SharedMemory()) + warp * kSegmentLogits, logits);
  summary.best = NegativeInfinity();
#pragma unroll
  for (int i = 0; i < kLogitsPerLane; ++i) summary.best = fmaxf(summary.best, logits.values[i]);
  summary.best = WarpMax(summary.best);
  summary.best_token = segment * kSegmentLogits + FirstEqual(logits, summary.best);
  const float inverse_temperature = row.planned.inverse_temperature;
  const bool draws = inverse_temperature > 0 && IsFinite(summary.best);
  summary.weight = draws ? SumOfWeights(logits, summary.best, inverse_temperature) : 0;
  if (static_cast<int>(threadIdx.x) % kWarpSize == 0) {
    summaries[int64_t{blockIdx.y} * input.num_segments + segment] = summary;
  }
}

// Block r chooses for row r.
__global__ void __launch_bounds__(kMaxChoiceWarps* kWarpSize)
    ChooseTokensKernel(SampleInput input, const SegmentSummary* summaries, int32_t* tokens, SampledRow* sampled) {
  auto& shared = *reinterpret_cast<ChoiceShared*>(SharedMemory());
  TokenChooser chooser(input.Row(blockIdx.x), summaries + int64_t{blockIdx.x} * input.num_segments, shared);
  const SampledRow out = chooser.Choose();
  if (threadIdx.x == 0) {
    tokens[blockIdx.x] = out.token;
    sampled[blockIdx.x] = out;
  }
}

}  // namespace

int64_t CudaSampleScratchBytes(int num_rows, int vocab_size) {
  return int64_t{num_rows} * NumSegments(vocab_size) * static_cast<int64_t>(sizeof(SegmentSummary));
}

void SampleOnCuda(const CudaSampleArgs& args, CudaStream stream) {
  constexpr int kMaxGridY = 65535;
  QUIRE_CHECK(args.num_rows >= 0 && args.num_rows <= kMaxGridY);
  QUIRE_CHECK(args.vocab_size >= 1 && args.vocab_size <= kMaxSampleVocab);
  if (args.num_rows == 0) return;
  const int num_segments = NumSegments(args.vocab_size);
  const SampleInput input = {args.logits, args.logits_stride, args.vocab_size, num_segments, args.plan};
  auto* const summaries = reinterpret_cast<SegmentSummary*>(args.scratch);
  const auto num_rows = static_cast<unsigned>(args.num_rows);
  const int summary_warps = std::min(num_segments, kMaxSummaryWarps);
  const auto blocks_per_row = static_cast<unsigned>((num_segments + summary_warps - 1) / summary_warps);
  const LaunchShape summary_shape = {.grid = dim3(blocks_per_row, num_rows),
                                     .block = static_cast<unsigned>(summary_warps * kWarpSize),
                                     .shared_bytes = sizeof(float) * summary_warps * kSegmentLogits,
                                     .stream = stream};
  // The second launch reads what the first one leaves.
  if (Launch(SummarizeSegmentsKernel, summary_shape, input, summaries) != cudaSuccess) return;
  const int choice_warps = std::min(num_segments, kMaxChoiceWarps);
  const LaunchShape choice_shape = {.grid = num_rows,
                                    .block = static_cast<unsigned>(choice_warps * kWarpSize),
                                    .shared_bytes = sizeof(ChoiceShared),
                                    .stream = stream};
  Launch(ChooseTokensKernel, choice_shape, input, summaries, args.tokens, args.sampled);
}

}  // namespace quire
