#include "kernels/cuda/prepare_rows.h"

#include <cuda_runtime.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

// The sum over the block's threads, the same in all of them.
__device__ float SumOfBlock(float x) {
  auto* const sums = reinterpret_cast<float*>(SharedMemory());
  const float of_warp = WarpSum(x);
  if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = of_warp;
  SyncBlock();
  float sum = 0;
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

// A block for each row; a thread takes every kThreads-th pair of elements.
__global__ void __launch_bounds__(kThreads)
    PrepareRowsKernel(const float* input, int64_t stride, int cols, const float* norm_weight, float epsilon,
                      uint16_t* rows, int padded_cols, int num_token_groups) {
  const int64_t row = blockIdx.x;
  input += row * stride;
  float scale = 1;
  if (norm_weight != nullptr) {
    float squares = 0;
    for (int i = static_cast<int>(threadIdx.x); i < cols; i += kThreads) squares = fmaf(input[i], input[i], squares);
    scale = 1 / sqrtf(SumOfBlock(squares) / static_cast<float>(cols) + epsilon);
  }
  const auto element = [&](int i) {
    if (i >= cols) return 0.0f;
    return norm_weight != nullptr ? input[i] * scale * norm_weight[i] : input[i];
  };
  auto* const pairs = reinterpret_cast<uint32_t*>(rows + row * padded_cols);
  for (int pair = static_cast<int>(threadIdx.x); pair < padded_cols / 2; pair += kThreads) {
    uint32_t* const to = num_token_groups > 0 ? HopperPair(rows, row, pair, num_token_groups) : pairs + pair;
    *to = RoundToBFloat16Pair(element(2 * pair), element(2 * pair + 1));
  }
}

}  // namespace

void PrepareRows(MatrixView<const float> input, const RmsNorm& norm, uint16_t* rows, int64_t padded_cols,
                 RowOrder order, CudaStream stream) {
  QUIRE_CHECK(input.rows > 0 && padded_cols % 2 == 0 && padded_cols >= input.cols);
  const LaunchShape shape = {.grid = static_cast<unsigned>(input.rows),
                             .block = kThreads,
                             .shared_bytes = kWarps * sizeof(float),
                             .stream = stream};
  const int64_t num_token_groups = order == RowOrder::kHopper ? PaddedHopperTokens(input.rows) / 8 : 0;
  // What fails is kept for cudaGetLastError.
  Launch(PrepareRowsKernel, shape, input.data, input.stride, static_cast<int>(input.cols),
         norm.weight.empty() ? nullptr : norm.weight.data(), norm.epsilon, rows, static_cast<int>(padded_cols),
         static_cast<int>(num_token_groups));
}

}  // namespace quire
