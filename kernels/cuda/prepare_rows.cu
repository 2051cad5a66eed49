#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/prepare_rows.h"
#include "kernels/float8.h"

namespace quire {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kQuadsKept = 4;  // By a thread, of 4 elements each. Longer rows are read twice.

// What each step of a block's reductions has in shared memory.
__device__ uint32_t* OfWarps(int step) { return reinterpret_cast<uint32_t*>(SharedMemory()) + step * kWarps; }
constexpr size_t kSharedBytes = 2 * kWarps * sizeof(uint32_t);

// The sum over the block's threads, the same in all of them.
__device__ float SumOfBlock(float x) {
  auto* const sums = reinterpret_cast<float*>(OfWarps(0));
  const float of_warp = WarpSum(x);
  if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = of_warp;
  SyncBlock();
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp];
  return sum;
}

// The largest over the block's threads, of magnitudes as bits: these order as the numbers do, with infinity and NaN
// behind all others.
__device__ float PeakOfBlock(uint32_t magnitude) {
  uint32_t* const peaks = OfWarps(1);
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) magnitude = max(magnitude, ShuffleXor(magnitude, mask));
  if (threadIdx.x % kWarpSize == 0) peaks[threadIdx.x / kWarpSize] = magnitude;
  SyncBlock();
  uint32_t peak = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) peak = max(peak, peaks[warp]);
  return __uint_as_float(peak);
}

// Word `word` of the 16-byte piece `piece` of a row's `part`th 128 bytes, in kernels/cuda/matmul_hopper.h's order.
__device__ __forceinline__ uint32_t* HopperWord(void* rows, int64_t row, int part, int piece, int word,
                                                int num_token_groups) {
  const int64_t line = int64_t{part} * num_token_groups * 8 + row;
  return static_cast<uint32_t*>(rows) + line * 32 + (piece ^ static_cast<int>(row % 8)) * 4 + word;
}

// Where the pair of features 2 * pair and the next one in bfloat16 lies: both are beside each other in an instruction's
// operand, too. The same for the four features from 4 * quad on in float8.
__device__ __forceinline__ uint32_t* HopperPair(uint16_t* rows, int64_t row, int pair, int num_token_groups) {
  const int piece = pair % 32 / 16 * 4 + pair % 4;  // Fragment and half: 16 bytes for each.
  return HopperWord(rows, row, pair / 32, piece, pair % 16 / 4, num_token_groups);
}
__device__ __forceinline__ uint32_t* HopperQuad(uint8_t* rows, int64_t row, int quad, int num_token_groups) {
  const int piece = quad % 32 / 8 * 2 + quad % 2;  // Group of 32 features, and half of the operand.
  return HopperWord(rows, row, quad / 32, piece, quad % 8 / 2, num_token_groups);
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

// What rows become: bfloat16, in either order.
struct BFloat16Output {
  static constexpr bool kHasScale = false;
  uint16_t* rows;
  int padded_cols;
  int num_token_groups;  // 0: one row after the other.

  __device__ __forceinline__ void Store(int64_t row, int quad, float4 x) const {
    const uint32_t first = RoundToBFloat16Pair(x.x, x.y), second = RoundToBFloat16Pair(x.z, x.w);
    if (num_token_groups > 0) {
      *HopperPair(rows, row, 2 * quad, num_token_groups) = first;
      *HopperPair(rows, row, 2 * quad + 1, num_token_groups) = second;
    } else {
      reinterpret_cast<uint2*>(rows + row * padded_cols)[quad] = make_uint2(first, second);
    }
  }
};

// Or float8, in either order, with a scale for each row.
struct Float8Output {
  static constexpr bool kHasScale = true;
  uint8_t* rows;
  float* scales;
  int padded_cols;
  int num_token_groups;  // As above.

  // `x` is multiplied by the reciprocal of the scale already.
  __device__ __forceinline__ void Store(int64_t row, int quad, float4 x) const {
    const uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(x.x, x.y), __NV_SATFINITE, __NV_E4M3);
    const uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(x.z, x.w), __NV_SATFINITE, __NV_E4M3);
    uint32_t* const to = num_token_groups > 0 ? HopperQuad(rows, row, quad, num_token_groups)
                                              : reinterpret_cast<uint32_t*>(rows + row * padded_cols) + quad;
    *to = low | high << 16;
  }
};

__device__ __forceinline__ uint32_t Magnitude(float x) { return __float_as_uint(x) & 0x7fffffff; }

// A block for each row; a thread takes every kThreads-th quad. The norm's weights are there before the kernel starts,
// so they are on their way while it waits for the rows.
template <typename Output>
__global__ void __launch_bounds__(kThreads)
    PrepareRowsKernel(const float* input, int64_t stride, int cols, const float* norm_weight, float epsilon,
                      int num_quads, Output output) {
  AllowNextKernel();
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x;
  const Row elements(input + row * stride, cols), weights(norm_weight, cols);
  const bool normalized = norm_weight != nullptr;
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
  // fn(quad, its elements, normalised) for all quads of the thread.
  const auto for_each_quad = [&](const auto& fn) {
    const auto normalize = [&](float4 x, float4 weight) {
      if (!normalized) return x;
      return make_float4(x.x * scale * weight.x, x.y * scale * weight.y, x.z * scale * weight.z,
                         x.w * scale * weight.w);
    };
#pragma unroll
    for (int i = 0; i < kQuadsKept; ++i) {
      if (i * kThreads + thread < num_quads) fn(i * kThreads + thread, normalize(kept[i], kept_weights[i]));
    }
    for (int quad = kQuadsKept * kThreads + thread; quad < num_quads; quad += kThreads) {
      fn(quad, normalize(elements.Quad(quad), normalized ? weights.Quad(quad) : float4{}));
    }
  };
  if constexpr (Output::kHasScale) {
    uint32_t peak = 0;
    for_each_quad([&](int, float4 x) {
      peak = max(max(peak, max(Magnitude(x.x), Magnitude(x.y))), max(Magnitude(x.z), Magnitude(x.w)));
    });
    const Float8Scale of_row = Float8ScaleOf(PeakOfBlock(peak));
    if (thread == 0) output.scales[row] = of_row.scale;
    for_each_quad([&](int quad, float4 x) {
      const float inverse = of_row.inverse;
      output.Store(row, quad, make_float4(x.x * inverse, x.y * inverse, x.z * inverse, x.w * inverse));
    });
  } else {
    for_each_quad([&](int quad, float4 x) { output.Store(row, quad, x); });
  }
}

template <typename Output>
void LaunchFor(MatrixView<const float> input, const RmsNorm& norm, const Output& output, CudaStream stream) {
  QUIRE_CHECK(input.rows > 0 && output.padded_cols % 4 == 0 && output.padded_cols >= input.cols);
  const LaunchShape shape = {.grid = static_cast<unsigned>(input.rows),
                             .block = kThreads,
                             .shared_bytes = kSharedBytes,
                             .stream = stream,
                             .overlaps = true};
  // What fails is kept for cudaGetLastError.
  Launch(PrepareRowsKernel<Output>, shape, input.data, input.stride, static_cast<int>(input.cols),
         norm.weight.empty() ? nullptr : norm.weight.data(), norm.epsilon, output.padded_cols / 4, output);
}

int NumTokenGroups(RowOrder order, int64_t num_rows) {
  return order == RowOrder::kHopper ? static_cast<int>(PaddedHopperTokens(num_rows) / 8) : 0;
}

}  // namespace

void PrepareRows(MatrixView<const float> input, const RmsNorm& norm, uint16_t* rows, int64_t padded_cols,
                 RowOrder order, CudaStream stream) {
  const BFloat16Output output = {rows, static_cast<int>(padded_cols), NumTokenGroups(order, input.rows)};
  LaunchFor(input, norm, output, stream);
}

void PrepareFloat8Rows(MatrixView<const float> input, const RmsNorm& norm, uint8_t* rows, float* scales,
                       int64_t padded_cols, RowOrder order, CudaStream stream) {
  const Float8Output output = {rows, scales, static_cast<int>(padded_cols), NumTokenGroups(order, input.rows)};
  LaunchFor(input, norm, output, stream);
}

}  // namespace quire
