#include <cuda_runtime.h>

#include <numbers>

#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_hopper.h"
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/attention_state.cuh"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"

namespace quire {
namespace {

// Blocks fit the 99 KiB of shared memory that all devices since compute capability 8.0 give one: with heads of up to
// 128 dimensions 64 rows do, with longer ones half as many.
template <int kHeadDim>
constexpr int kLargeWarps = kHeadDim > 128 ? 2 : 4;

constexpr int kMergeWarps = 4;  // Of a block of the merging kernel; each has a head.

// Block (i, h) does item i for KV head h.
template <int kHeadDim, int kWarps>
__global__ void __launch_bounds__(kWarps* kWarpSize) LargeItemKernel(AttentionParameters parameters) {
  const CudaAttentionItem item = parameters.args.plan.large_items[blockIdx.x];
  if (item.num_tokens == 0) return;
  auto& shared = *reinterpret_cast<AttentionShared<kHeadDim, kWarps>*>(SharedMemory());
  AttentionTile<kHeadDim, kWarps>(parameters, item, blockIdx.y, shared).Run();
}

// A block for each KV head of item 0, then of item 1, and on: a token's heads lie side by side in the cache, and what a
// launch has room for beyond the plan's items comes last, when nothing waits for the multiprocessors any more.
template <int kHeadDim, int kElementBytes>
__global__ void __launch_bounds__(kCudaSplitWarps* kWarpSize) SmallItemKernel(AttentionParameters parameters) {
  const int num_kv_heads = parameters.args.layer.num_kv_heads;
  const CudaAttentionItem item = parameters.args.plan.small_items[blockIdx.x / num_kv_heads];
  if (item.num_tokens == 0) return;
  auto& shared = *reinterpret_cast<AttentionSplitShared<kHeadDim, kElementBytes>*>(SharedMemory());
  AttentionSplit<kHeadDim, kElementBytes>(parameters, item, blockIdx.x % num_kv_heads, shared).Run();
}

// Adds up the states of a cut token's splits as AttentionTile would. Block (i, j) takes the i'th cut token. Several
// splits' states are loaded at once, lest a long context wait for one after the other.
__global__ void __launch_bounds__(kMergeWarps* kWarpSize) MergeKernel(CudaAttentionArgs args) {
  constexpr int kPairs = kMaxCudaHeadDim / 2 / kWarpSize;  // Of a lane's dimensions.
  constexpr int kAtOnce = 8;
  const int lane = threadIdx.x % kWarpSize, head_dim = args.layer.head_dim;
  const int head = blockIdx.y * kMergeWarps + threadIdx.x / kWarpSize;
  if (head >= args.num_heads) return;
  const int token = args.plan.cut_tokens[blockIdx.x];
  if (token < 0) return;
  const int end = args.positions[token] + 1;
  const int begin = args.sliding_window > 0 ? max(0, end - args.sliding_window) : 0;
  const int num_splits = (end + kCudaSplitTokens - 1) / kCudaSplitTokens - begin / kCudaSplitTokens;
  const int64_t first = static_cast<int64_t>(args.plan.first_partials[token]) * args.num_heads + head;
  SoftmaxState total;
  float2 weighted[kPairs] = {};
  for (int split = 0; split < num_splits; split += kAtOnce) {
    float2 states[kAtOnce], values[kAtOnce][kPairs];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (split + i >= num_splits) continue;
      const float* state = args.partials + (first + int64_t{split + i} * args.num_heads) * (head_dim + 2);
      states[i] = *reinterpret_cast<const float2*>(state);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        const int dim = 2 * (lane + j * kWarpSize);
        if (dim < head_dim) values[i][j] = *reinterpret_cast<const float2*>(state + 2 + dim);
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (split + i >= num_splits) continue;
      const MergeFactors factors = MergeState(total, {states[i].x, states[i].y});
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        if (2 * (lane + j * kWarpSize) >= head_dim) continue;
        weighted[j] = make_float2(MergeWeighted(weighted[j].x, values[i][j].x, factors),
                                  MergeWeighted(weighted[j].y, values[i][j].y, factors));
      }
    }
  }
  float* output = args.output + token * args.output_stride + static_cast<int64_t>(head) * head_dim;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int dim = 2 * (lane + j * kWarpSize);
    if (dim >= head_dim) continue;
    *reinterpret_cast<float2*>(output + dim) =
        make_float2(__fdiv_rn(weighted[j].x, total.sum), __fdiv_rn(weighted[j].y, total.sum));
  }
}

template <typename Shared>
void LaunchItems(void (*kernel)(AttentionParameters), dim3 grid, int num_warps, const AttentionParameters& parameters,
                 CudaStream stream) {
  static_assert(sizeof(Shared) <= 99 * 1024);
  if (grid.x == 0) return;
  const LaunchShape shape{
      .grid = grid, .block = dim3(num_warps * kWarpSize), .shared_bytes = sizeof(Shared), .stream = stream};
  Launch(kernel, shape, parameters);
}

template <int kHeadDim>
void LaunchLargeItems(const AttentionParameters& parameters, CudaStream stream) {
  constexpr int kWarps = kLargeWarps<kHeadDim>;
  const dim3 grid(parameters.args.plan.room.large_items, parameters.args.layer.num_kv_heads);
  LaunchItems<AttentionShared<kHeadDim, kWarps>>(LargeItemKernel<kHeadDim, kWarps>, grid, kWarps, parameters, stream);
}

template <int kHeadDim, int kElementBytes>
void LaunchSmallItems(const AttentionParameters& parameters, CudaStream stream) {
  const dim3 grid(parameters.args.plan.room.small_items * parameters.args.layer.num_kv_heads);
  LaunchItems<AttentionSplitShared<kHeadDim, kElementBytes>>(SmallItemKernel<kHeadDim, kElementBytes>, grid,
                                                             kCudaSplitWarps, parameters, stream);
}

template <int kHeadDim>
void LaunchAll(const AttentionParameters& parameters, CudaStream stream) {
  const CudaKvLayer& layer = parameters.args.layer;
  if (!parameters.args.portable && HasHopperAttention(layer.head_dim, layer.keys.dtype, layer.values.dtype)) {
    AttendOnHopper(parameters.args, parameters.query_factor, stream);
  } else {
    LaunchLargeItems<kHeadDim>(parameters, stream);
  }
  if (layer.keys.dtype == KvDType::kBF16 || layer.values.dtype == KvDType::kBF16) {
    LaunchSmallItems<kHeadDim, 2>(parameters, stream);
  } else {
    LaunchSmallItems<kHeadDim, 1>(parameters, stream);
  }
}

void LaunchFor(int head_dim, const AttentionParameters& parameters, CudaStream stream) {
  if (head_dim <= 64) return LaunchAll<64>(parameters, stream);
  if (head_dim <= 80) return LaunchAll<80>(parameters, stream);
  if (head_dim <= 96) return LaunchAll<96>(parameters, stream);
  if (head_dim <= 128) return LaunchAll<128>(parameters, stream);
  return LaunchAll<256>(parameters, stream);
}

}  // namespace

int CudaAttentionTileRows(int head_dim, KvDType keys, KvDType values, bool portable) {
  if (!portable && HasHopperAttention(head_dim, keys, values)) return kHopperTileRows;
  return kCudaWarpRows * (head_dim > 128 ? kLargeWarps<256> : kLargeWarps<128>);
}

void AttentionOnCuda(const CudaAttentionArgs& args, CudaStream stream) {
  const int head_dim = args.layer.head_dim;
  QUIRE_CHECK(head_dim >= 16 && head_dim <= kMaxCudaHeadDim && head_dim % 16 == 0);
  QUIRE_CHECK(args.num_heads % args.layer.num_kv_heads == 0 && args.output_stride % 2 == 0);
  // AttentionSplit counts tokens' heads in 32 bits.
  QUIRE_CHECK(int64_t{args.layer.num_pages} * args.layer.num_kv_heads * args.layer.page_size < int64_t{1} << 32);
  QUIRE_CHECK(args.plan.room.cut_tokens == 0 || args.partials != nullptr);
  AttentionParameters parameters{args, args.num_heads / args.layer.num_kv_heads,
                                 args.scale * std::numbers::log2e_v<float>, args.layer.keys.dtype == KvDType::kInt8};
  if (parameters.rotate_queries) parameters.query_factor /= static_cast<float>(CudaRotatedPart(head_dim));
  LaunchFor(head_dim, parameters, stream);
  if (args.plan.room.cut_tokens == 0) return;
  const LaunchShape shape{.grid = dim3(args.plan.room.cut_tokens, (args.num_heads + kMergeWarps - 1) / kMergeWarps),
                          .block = kMergeWarps * kWarpSize,
                          .stream = stream};
  Launch(MergeKernel, shape, args);
}

}  // namespace quire
