#include <cuda_runtime.h>

#include <numbers>

#include "kernels/check.h"
#include "kernels/cuda/attention.h"
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
__global__ void __launch_bounds__(kWarps* kWarpSize) AttendKernel(AttentionParameters parameters, bool is_large) {
  const CudaAttentionPlanView& plan = parameters.args.plan;
  const CudaAttentionItem item = (is_large ? plan.large_items : plan.small_items)[blockIdx.x];
  if (item.num_tokens == 0) return;
  auto& shared = *reinterpret_cast<AttentionShared<kHeadDim, kWarps>*>(SharedMemory());
  AttentionTile<kHeadDim, kWarps>(parameters, item, blockIdx.y, shared).Run();
}

// Adds up the states of a cut token's splits as AttentionTile would. Block (i, j) takes the i'th cut token.
__global__ void __launch_bounds__(kMergeWarps* kWarpSize) MergeKernel(CudaAttentionArgs args) {
  constexpr int kPerLane = kMaxCudaHeadDim / kWarpSize;
  const int lane = threadIdx.x % kWarpSize, head_dim = args.layer.head_dim;
  const int head = blockIdx.y * kMergeWarps + threadIdx.x / kWarpSize;
  if (head >= args.num_heads) return;
  const int token = args.plan.cut_tokens[blockIdx.x];
  if (token < 0) return;
  const int end = args.positions[token] + 1;
  const int begin = args.sliding_window > 0 ? max(0, end - args.sliding_window) : 0;
  const int num_splits = (end + kCudaSplitTokens - 1) / kCudaSplitTokens - begin / kCudaSplitTokens;
  SoftmaxState total;
  float weighted[kPerLane] = {};
  for (int split = 0; split < num_splits; ++split) {
    const int64_t index = static_cast<int64_t>(args.plan.first_partials[token] + split) * args.num_heads + head;
    const float* state = args.partials + index * (head_dim + 2);
    const MergeFactors factors = MergeState(total, {state[0], state[1]});
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int dim = lane + i * kWarpSize;
      if (dim < head_dim) weighted[i] = MergeWeighted(weighted[i], state[2 + dim], factors);
    }
  }
  float* output = args.output + token * args.output_stride + static_cast<int64_t>(head) * head_dim;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int dim = lane + i * kWarpSize;
    if (dim < head_dim) output[dim] = __fdiv_rn(weighted[i], total.sum);
  }
}

template <int kHeadDim, int kWarps>
void LaunchItems(const AttentionParameters& parameters, bool is_large, CudaStream stream) {
  static_assert(sizeof(AttentionShared<kHeadDim, kWarps>) <= 99 * 1024);
  const CudaAttentionRoom& room = parameters.args.plan.room;
  const int num_items = is_large ? room.large_items : room.small_items;
  if (num_items == 0) return;
  const LaunchShape shape{.grid = dim3(num_items, parameters.args.layer.num_kv_heads),
                          .block = kWarps * kWarpSize,
                          .shared_bytes = sizeof(AttentionShared<kHeadDim, kWarps>),
                          .stream = stream};
  Launch(AttendKernel<kHeadDim, kWarps>, shape, parameters, is_large);
}

template <int kHeadDim>
void LaunchAll(const AttentionParameters& parameters, CudaStream stream) {
  LaunchItems<kHeadDim, kLargeWarps<kHeadDim>>(parameters, true, stream);
  LaunchItems<kHeadDim, 1>(parameters, false, stream);
}

void LaunchFor(int head_dim, const AttentionParameters& parameters, CudaStream stream) {
  if (head_dim <= 64) return LaunchAll<64>(parameters, stream);
  if (head_dim <= 80) return LaunchAll<80>(parameters, stream);
  if (head_dim <= 96) return LaunchAll<96>(parameters, stream);
  if (head_dim <= 128) return LaunchAll<128>(parameters, stream);
  return LaunchAll<256>(parameters, stream);
}

}  // namespace

int CudaAttentionTileRows(int head_dim) {
  return kCudaWarpRows * (head_dim > 128 ? kLargeWarps<256> : kLargeWarps<128>);
}

void AttentionOnCuda(const CudaAttentionArgs& args, CudaStream stream) {
  const int head_dim = args.layer.head_dim;
  QUIRE_CHECK(head_dim >= 16 && head_dim <= kMaxCudaHeadDim && head_dim % 16 == 0);
  QUIRE_CHECK(args.num_heads % args.layer.num_kv_heads == 0 && args.output_stride % 2 == 0);
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
