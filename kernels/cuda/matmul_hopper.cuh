// The body of the kernel of kernels/cuda/matmul_hopper.h. Included by one file for each width of codes.
#pragma once

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_epilogue.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {

inline constexpr int kHopperConsumerWarps = 8;
inline constexpr int kHopperThreads = (kHopperConsumerWarps + 1) * kWarpSize;

template <WeightFormat kFormat>
struct HopperStages {
  static constexpr int kTileBytes = LayoutOf(kFormat).tile_bytes();
  static constexpr int kActivationBytes = kHopperTokensPerBlock * kTileFeatures * 2;
  static constexpr int kWeightBytes = kPanelsPerBlock * kTileBytes;
  static constexpr int kBytes = (kActivationBytes + kWeightBytes + 1023) / 1024 * 1024;
  static constexpr int kCount = 200 * 1024 / kBytes < 8 ? 200 * 1024 / kBytes : 8;
  // Stages begin at multiples of 1024 bytes, which the launch does not promise; the barriers come last.
  static constexpr int kSharedBytes = 1024 + kCount * kBytes + 2 * kCount * 8;
};

#ifdef QUIRE_HOPPER_CODE

template <WeightFormat kFormat, int kCluster>
class HopperMultiplier {
 public:
  using Stages = HopperStages<kFormat>;

  __device__ __forceinline__ HopperMultiplier(const MultiplyArgs& args, int num_token_groups)
      : args_(args),
        num_token_groups_(num_token_groups),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        first_panel_(static_cast<int>(blockIdx.y) * kPanelsPerBlock),
        first_token_(static_cast<int>(blockIdx.x) * kHopperTokensPerBlock) {
    std::byte* const shared = SharedMemory();
    stages_ = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
    full_ = reinterpret_cast<TransferBarrier*>(stages_ + Stages::kCount * Stages::kBytes);
    empty_ = full_ + Stages::kCount;
  }

  __device__ __forceinline__ void Run() {
    if (threadIdx.x == 0) {
      for (int i = 0; i < Stages::kCount; ++i) {
        full_[i].Init(1);
        empty_[i].Init(kHopperConsumerWarps * kCluster);
      }
      FenceBarrierInit();
    }
    SyncAll();
    if (warp_ == kHopperConsumerWarps) {
      Copy();
    } else {
      Multiply();
    }
    // A block that has ended can be sent nothing any more.
    if constexpr (kCluster > 1) SyncCluster();
  }

 private:
  static constexpr int kSumRegisters = kHopperTokensPerBlock / 2;
  static constexpr int kGroups = kTileFeatures / kGroupSize;
  static constexpr int kChannels = kPanelsPerBlock * kPanelRows;

  __device__ __forceinline__ static void SyncAll() {
    if constexpr (kCluster > 1) {
      SyncCluster();
    } else {
      SyncBlock();
    }
  }

  __device__ __forceinline__ std::byte* Activations(int stage) const { return stages_ + stage * Stages::kBytes; }
  __device__ __forceinline__ std::byte* Weights(int stage) const {
    return Activations(stage) + Stages::kActivationBytes;
  }

  // The copying warp: a lane for each panel, and one for the activations.
  __device__ __forceinline__ void Copy() const {
    constexpr int kPanels = kPanelsPerBlock / kCluster;
    const int rank = kCluster > 1 ? BlockInCluster() : 0;
    const int panel_in_block = rank * kPanels + lane_;
    const int panel = min(first_panel_ + panel_in_block, args_.num_panels - 1);  // What is beyond is not stored.
    const std::byte* weights = args_.panels + int64_t{panel} * args_.num_tiles * Stages::kTileBytes;
    const std::byte* activations = args_.tokens + int64_t{first_token_} * 128;
    int stage = 0, parity = 1;
    for (int tile = 0; tile < args_.num_tiles; ++tile) {
      empty_[stage].Wait(parity);
      if (lane_ == 0) full_[stage].ArriveAndExpect(Stages::kActivationBytes + Stages::kWeightBytes);
      SyncWarp();
      if (lane_ < kPanels) {
        std::byte* const to = Weights(stage) + panel_in_block * Stages::kTileBytes;
        if constexpr (kCluster > 1) {
          CopyBulkToBlocks(to, weights, Stages::kTileBytes, full_[stage], (1 << kCluster) - 1);
        } else {
          CopyBulk(to, weights, Stages::kTileBytes, full_[stage]);
        }
        weights += Stages::kTileBytes;
      } else if (lane_ == kPanelsPerBlock) {
        CopyBulk(Activations(stage), activations, Stages::kActivationBytes, full_[stage]);
        activations += int64_t{num_token_groups_} * 1024;
      }
      Advance(stage, parity);
    }
  }

  __device__ __forceinline__ static void Advance(int& stage, int& parity) {
    if (++stage < Stages::kCount) return;
    stage = 0;
    parity ^= 1;
  }

  // Says that this warp has done with a stage, to all who write into it.
  __device__ __forceinline__ void Release(int stage) const {
    if constexpr (kCluster > 1) {
      if (lane_ < kCluster) empty_[stage].ArriveAt(lane_);
    } else {
      if (lane_ == 0) empty_[stage].Arrive();
    }
  }

  __device__ __forceinline__ void Multiply() {
    float totals[kSumRegisters];
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) totals[i] = 0;
    int stage = 0, parity = 0, begin = 0;
    for (int slice = 0; slice < args_.num_slices; ++slice) {
      const int end = (slice + 1) * args_.num_tiles / args_.num_slices;
      float sums[kSumRegisters];
      MultiplySlice(end - begin, stage, parity, sums);
#pragma unroll
      for (int i = 0; i < kSumRegisters; ++i) totals[i] += sums[i];
      begin = end;
    }
    StoreAll(totals);
  }

  // While a group of instructions runs, the weights for the next one are expanded.
  __device__ __forceinline__ void MultiplySlice(int num_tiles, int& stage, int& parity,
                                                float (&sums)[kSumRegisters]) const {
    uint32_t weights[kGroups][2][4];
    int last_stage = -1;
    bool accumulate = false;
#pragma unroll 1
    for (int tile = 0; tile < num_tiles; ++tile) {
      full_[stage].Wait(parity);
      const LaneOfTile<kFormat> lane(Weights(stage) + warp_ * Stages::kTileBytes, lane_);
      const uint64_t activations = DescribeRows(Activations(stage));
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        lane.Expand(group, weights[group][0], weights[group][1]);
        WgmmaFence();
        Wgmma<false>(sums, weights[group][0], activations + (group * 64) / 16, accumulate);
        Wgmma<false>(sums, weights[group][1], activations + (group * 64 + 32) / 16, true);
        WgmmaCommit();
        accumulate = true;
        WgmmaWait<1>();
        if (group == 0 && last_stage >= 0) Release(last_stage);
      }
      last_stage = stage;
      Advance(stage, parity);
    }
    WgmmaWait<0>();
    Release(last_stage);
  }

  // Through shared memory, in which the block's sums are [token][channel], for the sake of whole lines and less code.
  __device__ __forceinline__ void StoreAll(const float (&totals)[kSumRegisters]) const {
    constexpr int kBarrier = 1, kThreads = kHopperConsumerWarps * kWarpSize;
    constexpr int kStride = kChannels + 4;  // No two lanes use one bank.
    static_assert(kHopperTokensPerBlock * kStride * 4 <= Stages::kCount * Stages::kBytes);
    float* const sums = reinterpret_cast<float*>(stages_);
    SyncThreads(kBarrier, kThreads);  // The stages have been read.
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) {
      const int token = i / 4 * 8 + lane_ % 4 * 2 + i % 2;
      sums[token * kStride + warp_ * kPanelRows + lane_ / 4 + i % 4 / 2 * 8] = totals[i];
    }
    SyncThreads(kBarrier, kThreads);
    const int num_tokens = min(args_.num_tokens - first_token_, kHopperTokensPerBlock);
    for (int token = warp_; token < num_tokens; token += kHopperConsumerWarps) {
      const float* of_token = sums + token * kStride;
      if (args_.gated) {
        StoreGatedRow(first_token_ + token, of_token);
      } else {
        StoreRow(first_token_ + token, of_token);
      }
    }
  }

  __device__ __forceinline__ void StoreRow(int token, const float* sums) const {
    const int first_channel = first_panel_ * kPanelRows;
    for (int i = lane_; i < kChannels; i += kWarpSize) {
      if (first_channel + i < args_.num_channels) StoreProduct(args_, token, first_channel + i, sums[i]);
    }
  }

  // Panels alternate between the gate and up.
  __device__ __forceinline__ void StoreGatedRow(int token, const float* sums) const {
    const int first_channel = first_panel_ / 2 * kPanelRows;
    for (int i = lane_; i < kPanelsPerBlock / 2 * kPanelRows; i += kWarpSize) {
      const float* const gate = sums + i / kPanelRows * 2 * kPanelRows + i % kPanelRows;
      if (first_channel + i >= args_.num_channels) continue;
      StoreGatedProduct(args_, token, first_channel + i, gate[0], gate[kPanelRows]);
    }
  }

  const MultiplyArgs& args_;
  int num_token_groups_;
  int lane_, warp_;
  int first_panel_, first_token_;
  std::byte* stages_;
  TransferBarrier* full_;
  TransferBarrier* empty_;
};

#endif  // QUIRE_HOPPER_CODE

template <WeightFormat kFormat, int kCluster>
__global__ void __launch_bounds__(kHopperCode ? kHopperThreads : kWarpSize, 1)
    HopperMultiplyKernel([[maybe_unused]] const MultiplyArgs args, [[maybe_unused]] int num_token_groups) {
#ifdef QUIRE_HOPPER_CODE
  HopperMultiplier<kFormat, kCluster>(args, num_token_groups).Run();
#endif
}

template <WeightFormat kFormat, int kCluster>
void LaunchHopperVariant(const MultiplyArgs& args, CudaStream stream) {
  const auto divide_up = [](int a, int b) { return static_cast<unsigned>((a + b - 1) / b); };
  // Blocks that run side by side have the same weights, and all of the activations, at hand in the GPU's cache.
  const LaunchShape shape = {
      .grid = dim3(divide_up(args.num_tokens, kHopperTokensPerBlock * kCluster) * kCluster,
                   divide_up(args.num_panels, kPanelsPerBlock)),
      .block = kHopperThreads,
      .shared_bytes = HopperStages<kFormat>::kSharedBytes,
      .cluster = kCluster,
      .stream = stream};
  const auto num_token_groups = static_cast<int>(PaddedHopperTokens(args.num_tokens) / 8);
  Launch(HopperMultiplyKernel<kFormat, kCluster>, shape, args, num_token_groups);
}

template <WeightFormat kFormat>
void MultiplyOnHopper(const MultiplyArgs& args, CudaStream stream) {
  if (args.num_tokens <= kHopperTokensPerBlock) return LaunchHopperVariant<kFormat, 1>(args, stream);
  LaunchHopperVariant<kFormat, kMaxCluster>(args, stream);
}

}  // namespace quire
