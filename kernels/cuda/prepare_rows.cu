#include <cuda_runtime.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/prepare_rows.h"

namespace quire {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kQuadsKept = 4;  // By a thread, of 4 elements each. Longer rows are read twice.

// The sum over the block's threads, the same in all of them.
__device__ float SumOfBlock(float x) {
  auto* const sums = reinterpret_cast<float*>(SharedMemory());
  const float of_warp = WarpSum(x);
  if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = of_warp;
  SyncBlock();
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp];
  return sum;
}

// Where the pair of features 2 * pair and the next one of a row lies, in kernels/cuda/matmul_hopper.h's order: both are
// beside each other in an instruction's operand, too.
__device__ __forceinline__ uint32_t* HopperPair(uint16_t* rows, int64_t row, int pair, int num_token_groups) {
  const int tile = pair / 32, lane = pair % 16 / 4;
  const int piece = pair % 32 / 16 * 4 + pair % 4;  // Fragment and half: 16 bytes for each.
  const int64_t line = (int64_t{tile} * num_token_groups + row / 8) * 8 + row % 8;
  return reinterpret_cast<uint32_t*>(rows) + line * 32 + (piece ^ static_cast<int>(row % 8)) * 4 + lane;
}

// Elements [4 * quad, 4 * quad + 4) of a row, zeros behind its end. They are loaded at once where that is allowed.
struct Row {
  const float* elements;
  int cols;
  bool aligned;

  __device__ __forceinline__ Row(const float* row, int num_cols)
      : elements(row), cols(num_cols), aligned(reinterpret_cast<uintptr_t>(row) % sizeof(float4) == 0) {}

  __device__ __forceinline__ float4 Quad(int quad) const {
    const int first = 4 * quad;
    if (aligned && first + 4 <= cols) return *reinterpret_cast<const float4*>(elements + first);
    const auto element = [&](int i) { return i < cols ? elements[i] : 0.0f; };
    return make_float4(element(first), element(first + 1), element(first + 2), element(first + 3));
  }
};

// A block for each row; a thread takes every kThreads-th quad. The norm's weights are there before the kernel starts,
// so they are on their way while it waits for the rows.
__global__ void __launch_bounds__(kThreads)
    PrepareRowsKernel(const float* input, int64_t stride, int cols, const float* norm_weight, float epsilon,
                      uint16_t* rows, int padded_cols, int num_token_groups) {
  AllowNextKernel();
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x;
  const Row elements(input + row * stride, cols), weights(norm_weight, cols);
  const bool normalized = norm_weight != nullptr;
  const int num_quads = padded_cols / 4;
  float4 kept_weights[kQuadsKept], kept[kQuadsKept];
#pragma unroll
  for (int i = 0; i < kQuadsKept; ++i) {
    if (normalized && i * kThreads + thread < num_quads) kept_weights[i] = weights.Quad(i * kThreads + thread);
  }
  WaitForEarlierKernels();
#pragma unroll
  for (int i = 0; i < kQuadsKept; ++i) {
    if (i * kThreads + thread < num_quads) kept[i] = elements.Quad(i * kThreads + thread);
  }
  float scale = 1;
  if (normalized) {
    float squares = 0;
    const auto add = [&](float4 x) {
      squares = fmaf(x.x, x.x, squares);
      squares = fmaf(x.y, x.y, squares);
      squares = fmaf(x.z, x.z, squares);
      squares = fmaf(x.w, x.w, squares);
    };
#pragma unroll
    for (int i = 0; i < kQuadsKept; ++i) {
      if (i * kThreads + thread < num_quads) add(kept[i]);
    }
    for (int quad = kQuadsKept * kThreads + thread; quad < num_quads; quad += kThreads) add(elements.Quad(quad));
    scale = 1 / sqrtf(SumOfBlock(squares) / static_cast<float>(cols) + epsilon);
  }
  auto* const quads = reinterpret_cast<uint2*>(rows + row * padded_cols);
  const auto store = [&](int quad, float4 x, float4 weight) {
    if (normalized) {
      x = make_float4(x.x * scale * weight.x, x.y * scale * weight.y, x.z * scale * weight.z, x.w * scale * weight.w);
    }
    const uint32_t first = RoundToBFloat16Pair(x.x, x.y), second = RoundToBFloat16Pair(x.z, x.w);
    if (num_token_groups > 0) {
      *HopperPair(rows, row, 2 * quad, num_token_groups) = first;
      *HopperPair(rows, row, 2 * quad + 1, num_token_groups) = second;
    } else {
      quads[quad] = make_uint2(first, second);
    }
  };
#pragma unroll
  for (int i = 0; i < kQuadsKept; ++i) {
    if (i * kThreads + thread < num_quads) store(i * kThreads + thread, kept[i], kept_weights[i]);
  }
  for (int quad = kQuadsKept * kThreads + thread; quad < num_quads; quad += kThreads) {
    store(quad, elements.Quad(quad), normalized ? weights.Quad(quad) : float4{});
  }
}

}  // namespace

void PrepareRows(MatrixView<const float> input, const RmsNorm& norm, uint16_t* rows, int64_t padded_cols,
                 RowOrder order, CudaStream stream) {
  QUIRE_CHECK(input.rows > 0 && padded_cols % 4 == 0 && padded_cols >= input.cols);
  const LaunchShape shape = {.grid = static_cast<unsigned>(input.rows),
                             .block = kThreads,
                             .shared_bytes = kWarps * sizeof(float),
                             .stream = stream,
                             .overlaps = true};
  const int64_t num_token_groups = order == RowOrder::kHopper ? PaddedHopperTokens(input.rows) / 8 : 0;
  // What fails is kept for cudaGetLastError.
  Launch(PrepareRowsKernel, shape, input.data, input.stride, static_cast<int>(input.cols),
         norm.weight.empty() ? nullptr : norm.weight.data(), norm.epsilon, rows, static_cast<int>(padded_cols),
         static_cast<int>(num_token_groups));
}

}  // namespace quire
