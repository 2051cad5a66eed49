// The body of the kernel of kernels/cuda/matmul_hopper.h. Included by one file for each width of codes.
#pragma once

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_epilogue.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/matmul_hopper_stages.cuh"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {

#ifdef QUIRE_HOPPER_CODE

template <WeightFormat kFormat, int kTokens, int kCluster>
class HopperMultiplier {
 public:
  __device__ __forceinline__ HopperMultiplier(const MultiplyArgs& args, int num_token_groups)
      : args_(args),
        num_token_groups_(num_token_groups),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize) {}

  __device__ __forceinline__ void Run() {
    if (threadIdx.x == 0) stages_.InitBarriers();
    SyncAll();
    if (warp_ == kHopperMultiplyingWarps) {
      HopperCopier<kFormat, kTokens, kCluster>(args_, num_token_groups_, stages_).Run(0, BeginOf(args_.num_slices));
    } else {
      MultiplyAllSlices();
    }
    // A block that has ended can be sent nothing any more.
    if constexpr (kCluster > 1) SyncCluster();
  }

 private:
  using Layout = HopperLayout<kFormat, kTokens>;
  using Turn = typename HopperStages<kFormat, kTokens, kCluster>::Turn;
  static constexpr int kSumRegisters = kTokens / 2;
  static constexpr int kGroups = kTileFeatures / kGroupSize;
  static constexpr int kChannels = kPanelsPerBlock * kPanelRows;
  static constexpr int kBarrier = 1;
  static constexpr int kMultiplyingThreads = kHopperMultiplyingWarps * kWarpSize;

  __device__ __forceinline__ static void SyncAll() {
    if constexpr (kCluster > 1) {
      SyncCluster();
    } else {
      SyncBlock();
    }
  }

  // The block's.
  __device__ __forceinline__ static int first_panel() { return static_cast<int>(blockIdx.y) * kPanelsPerBlock; }
  __device__ __forceinline__ static int first_token() { return static_cast<int>(blockIdx.x) * kTokens; }

  __device__ __forceinline__ int BeginOf(int slice) const { return HopperBeginOf<kFormat>(args_, slice); }

  __device__ __forceinline__ void MultiplyAllSlices() const {
    float totals[kSumRegisters];
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) totals[i] = 0;
    Turn turn;
    int begin = 0;
    for (int slice = 0; slice < args_.num_slices; ++slice) {
      const int end = BeginOf(slice + 1);
      float sums[kSumRegisters];
      MultiplySlice(end - begin, turn, sums);
      begin = end;
#pragma unroll
      for (int i = 0; i < kSumRegisters; ++i) totals[i] += sums[i];
    }
    StoreAll(totals);
  }

  // While a group of instructions runs, the weights for the next one are expanded.
  __device__ __forceinline__ void MultiplySlice(int num_tiles, Turn& turn, float (&sums)[kSumRegisters]) const {
    uint32_t weights[kGroups][2][4];
    int last_stage = -1;
    bool accumulate = false;
#pragma unroll 1
    for (int tile = 0; tile < num_tiles; ++tile) {
      stages_.Full(turn.stage).Wait(turn.parity);
      const LaneOfTile<kFormat> lane(stages_.Weights(turn.stage) + warp_ * Layout::kTileBytes, lane_);
      const uint64_t activations = DescribeRows(stages_.Activations(turn.stage));
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        lane.Expand(group, weights[group][0], weights[group][1]);
        WgmmaFence();
        Wgmma<false>(sums, weights[group][0], activations + (group * 64) / 16, accumulate);
        Wgmma<false>(sums, weights[group][1], activations + (group * 64 + 32) / 16, true);
        WgmmaCommit();
        accumulate = true;
        WgmmaWait<1>();
        if (group == 0 && last_stage >= 0) stages_.Release(last_stage, lane_);
      }
      last_stage = turn.stage;
      turn.Advance();
    }
    WgmmaWait<0>();
    stages_.Release(last_stage, lane_);
  }

  // Through shared memory, in which the block's sums are [token][channel], for the sake of whole lines and less code.
  __device__ __forceinline__ void StoreAll(const float (&totals)[kSumRegisters]) const {
    constexpr int kStride = kChannels + 4;  // No two lanes use one bank.
    static_assert(kTokens * kStride * 4 <= Layout::kStages * Layout::kStageBytes);
    float* const sums = reinterpret_cast<float*>(stages_.Activations(0));
    SyncThreads(kBarrier, kMultiplyingThreads);  // The stages have been read.
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) {
      const int token = i / 4 * 8 + lane_ % 4 * 2 + i % 2;
      sums[token * kStride + warp_ * kPanelRows + lane_ / 4 + i % 4 / 2 * 8] = totals[i];
    }
    SyncThreads(kBarrier, kMultiplyingThreads);
    const int num_tokens = min(args_.num_tokens - first_token(), kTokens);
    for (int token = warp_; token < num_tokens; token += kHopperMultiplyingWarps) {
      const float* of_token = sums + token * kStride;
      if (args_.gated) {
        StoreGatedRow(first_token() + token, of_token);
      } else {
        StoreRow(first_token() + token, of_token);
      }
    }
  }

  __device__ __forceinline__ void StoreRow(int token, const float* sums) const {
    const int first_channel = first_panel() * kPanelRows;
    for (int i = lane_; i < kChannels; i += kWarpSize) {
      if (first_channel + i < args_.num_channels) StoreProduct(args_, token, first_channel + i, sums[i]);
    }
  }

  // Panels alternate between the gate and up.
  __device__ __forceinline__ void StoreGatedRow(int token, const float* sums) const {
    const int first_channel = first_panel() / 2 * kPanelRows;
    for (int i = lane_; i < kPanelsPerBlock / 2 * kPanelRows; i += kWarpSize) {
      const float* const gate = sums + i / kPanelRows * 2 * kPanelRows + i % kPanelRows;
      if (first_channel + i >= args_.num_channels) continue;
      StoreGatedProduct(args_, token, first_channel + i, gate[0], gate[kPanelRows]);
    }
  }

  const MultiplyArgs& args_;
  int num_token_groups_;
  int lane_, warp_;
  const HopperStages<kFormat, kTokens, kCluster> stages_;
};

#endif  // QUIRE_HOPPER_CODE

template <WeightFormat kFormat, int kTokens, int kCluster>
__global__ void __launch_bounds__(kHopperCode ? kHopperThreads : kWarpSize, 1)
    HopperMultiplyKernel([[maybe_unused]] const MultiplyArgs args, [[maybe_unused]] int num_token_groups) {
#ifdef QUIRE_HOPPER_CODE
  HopperMultiplier<kFormat, kTokens, kCluster>(args, num_token_groups).Run();
#endif
}

template <WeightFormat kFormat, int kTokens, int kCluster>
void LaunchHopperVariant(const MultiplyArgs& args, CudaStream stream) {
  const auto divide_up = [](int a, int b) { return static_cast<unsigned>((a + b - 1) / b); };
  // Blocks that run side by side have the same weights, and all of the activations, at hand in the GPU's cache.
  const LaunchShape shape = {.grid = dim3(divide_up(args.num_tokens, kTokens * kCluster) * kCluster,
                                          divide_up(args.num_panels, kPanelsPerBlock)),
                             .block = kHopperThreads,
                             .shared_bytes = HopperLayout<kFormat, kTokens>::kSharedBytes,
                             .cluster = kCluster,
                             .stream = stream};
  const auto num_token_groups = static_cast<int>(PaddedHopperTokens(args.num_tokens) / 8);
  Launch(HopperMultiplyKernel<kFormat, kTokens, kCluster>, shape, args, num_token_groups);
}

template <WeightFormat kFormat>
void MultiplyOnHopper(const MultiplyArgs& args, CudaStream stream) {
  constexpr int kTokens = kHopperTokensPerBlock;
  if (args.num_tokens <= kTokens) return LaunchHopperVariant<kFormat, kTokens, 1>(args, stream);
  LaunchHopperVariant<kFormat, kTokens, kMaxCluster>(args, stream);
}

}  // namespace quire
