#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/attention_hopper.h"
#include "kernels/cuda/attention_hopper_rows.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"

namespace quire {
namespace {

// Registers of a thread at first, and when they have been dealt anew: no more in all, or the block would wait forever.
constexpr int kRegisters = 65536 / kHopperAttentionThreads / 8 * 8;
constexpr int kLoaderRegisters = 24;
constexpr int kRowsRegisters = 240;
static_assert(kLoaderRegisters + kHopperRowGroups * kRowsRegisters <= (kHopperRowGroups + 1) * kRegisters);

// Block (i, h) does large item i for KV head h.
template <int kHeadDim>
__global__ void __launch_bounds__(kHopperCode ? kHopperAttentionThreads : kWarpSize, 1)
    AttendHopperKernel([[maybe_unused]] HopperAttentionParameters parameters) {
#ifdef QUIRE_HOPPER_CODE
  const CudaAttentionItem item = parameters.args.plan.large_items[blockIdx.x];
  if (item.num_tokens == 0) return;
  using Shared = HopperAttentionShared<kHeadDim>;
  const uint32_t misaligned = SharedAddress(SharedMemory()) % alignof(Shared);
  auto& shared = *reinterpret_cast<Shared*>(SharedMemory() + (alignof(Shared) - misaligned) % alignof(Shared));
  if (threadIdx.x < kHopperStages) {
    shared.full[threadIdx.x].Init(kWarpgroupThreads / kWarpSize);
    shared.empty[threadIdx.x].Init(kHopperRowGroups * kWarpgroupThreads / kWarpSize);
    shared.unsound[threadIdx.x] = 0;
    FenceBarrierInit();
  }
  SyncBlock();
  if (threadIdx.x / kWarpgroupThreads == kHopperRowGroups) {
    GiveRegisters<kLoaderRegisters>();
    HopperLoader<kHeadDim>(parameters.args, blockIdx.y, shared).Run(item);
  } else {
    TakeRegisters<kRowsRegisters>();
    HopperRows<kHeadDim>(parameters, item, blockIdx.y, shared).Run();
  }
#endif
}

template <int kHeadDim>
void LaunchFor(const HopperAttentionParameters& parameters, CudaStream stream) {
  using Shared = HopperAttentionShared<kHeadDim>;
  const LaunchShape shape{.grid = dim3(parameters.args.plan.room.large_items, parameters.args.layer.num_kv_heads),
                          .block = kHopperAttentionThreads,
                          .shared_bytes = sizeof(Shared) + alignof(Shared),
                          .stream = stream};
  static_assert(sizeof(Shared) + alignof(Shared) <= 227 * 1024);
  Launch(AttendHopperKernel<kHeadDim>, shape, parameters);
}

}  // namespace

bool HasHopperAttention(int head_dim, KvDType keys, KvDType values) {
  return HasHopperCode<AttendHopperKernel<128>>(kHopperAttentionThreads) && (head_dim == 64 || head_dim == 128) &&
         keys == KvDType::kBF16 && values == KvDType::kBF16;
}

void AttendOnHopper(const CudaAttentionArgs& args, float query_factor, CudaStream stream) {
  const CudaKvLayer& layer = args.layer;
  QUIRE_CHECK(HasHopperAttention(layer.head_dim, layer.keys.dtype, layer.values.dtype));
  QUIRE_CHECK(args.query_stride % 2 == 0);
  if (args.plan.room.large_items == 0) return;
  const HopperAttentionParameters parameters{args, args.num_heads / layer.num_kv_heads, query_factor};
  if (layer.head_dim == 64) return LaunchFor<64>(parameters, stream);
  LaunchFor<128>(parameters, stream);
}

}  // namespace quire
