// What a block of kernels/cuda/matmul_hopper.cuh has in shared memory, and how weights and activations come there.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/matmul_hopper.h"

namespace quire {

inline constexpr int kHopperMultiplyingWarps = 8;

// How many blocks of so many tokens are to fit into a multiprocessor.
constexpr int HopperBlocksWanted(int tokens) { return tokens <= 32 ? 4 : tokens <= 64 ? 2 : 1; }

// Stages, which begin at multiples of 1024 bytes, each with a step's 128 bytes of every token's features and then the
// tiles of weights for these; barriers behind them.
template <WeightFormat kFormat, int kTokens>
struct HopperLayout {
  static constexpr int kTiles = HopperTilesPerRow(kFormat);
  static constexpr int kTileBytes = LayoutOf(kFormat).tile_bytes();
  static constexpr int kPanelBytes = kTiles * kTileBytes;
  static constexpr int kActivationBytes = kTokens * kHopperRowBytes;
  static constexpr int kStageBytes = (kActivationBytes + kPanelsPerBlock * kPanelBytes + 1023) / 1024 * 1024;
  static constexpr int kWantedBytes =
      kTokens == kHopperTokensPerBlock ? 200 * 1024 : 216 * 1024 / HopperBlocksWanted(kTokens);
  static constexpr int kStages = kWantedBytes / kStageBytes < 8 ? kWantedBytes / kStageBytes : 8;
  static constexpr int kSharedBytes = 1024 + kStages * (kStageBytes + 2 * 8);  // The launch promises less than 1024.
};

#ifdef QUIRE_HOPPER_CODE

// The first step of a slice, and how many tiles a step has.
template <WeightFormat kFormat>
__device__ __forceinline__ int HopperBeginOf(const MultiplyArgs& args, int slice) {
  constexpr int kTiles = HopperLayout<kFormat, kHopperTokensPerBlock>::kTiles;
  return (SliceBegin<kFormat>(slice, args.num_slices, args.num_tiles) + kTiles - 1) / kTiles;
}
template <WeightFormat kFormat>
__device__ __forceinline__ int HopperTilesOf(const MultiplyArgs& args, int step) {
  constexpr int kTiles = HopperLayout<kFormat, kHopperTokensPerBlock>::kTiles;
  return min(args.num_tiles - step * kTiles, kTiles);
}

template <WeightFormat kFormat, int kTokens, int kCluster>
class HopperStages {
 public:
  using Layout = HopperLayout<kFormat, kTokens>;

  // A stage, and the parity of its barriers' phase, of those that come one after the other.
  struct Turn {
    int stage = 0;
    int parity = 0;

    __device__ __forceinline__ void Advance() {
      if (++stage < Layout::kStages) return;
      stage = 0;
      parity ^= 1;
    }
  };

  __device__ __forceinline__ HopperStages()
      : stages_(SharedMemory() + (1024 - SharedAddress(SharedMemory()) % 1024) % 1024) {}

  // By one thread, before a barrier of the block (or cluster).
  __device__ __forceinline__ void InitBarriers() const {
    for (int i = 0; i < Layout::kStages; ++i) {
      Full(i).Init(1);
      Empty(i).Init(kHopperMultiplyingWarps * kCluster);
    }
    FenceBarrierInit();
  }

  __device__ __forceinline__ std::byte* Activations(int stage) const { return stages_ + stage * Layout::kStageBytes; }
  __device__ __forceinline__ std::byte* Weights(int stage) const {
    return Activations(stage) + Layout::kActivationBytes;
  }
  __device__ __forceinline__ TransferBarrier& Full(int stage) const {
    return reinterpret_cast<TransferBarrier*>(stages_ + Layout::kStages * Layout::kStageBytes)[stage];
  }
  __device__ __forceinline__ TransferBarrier& Empty(int stage) const { return Full(Layout::kStages + stage); }

  // Says that this warp has done with a stage, to all who write into it.
  __device__ __forceinline__ void Release(int stage, int lane) const {
    if constexpr (kCluster > 1) {
      if (lane < kCluster) Empty(stage).ArriveAt(lane);
    } else {
      if (lane == 0) Empty(stage).Arrive();
    }
  }

 private:
  std::byte* stages_;
};

// What the copying warp does: a lane for each panel, and one for the activations.
template <WeightFormat kFormat, int kTokens, int kCluster>
class HopperCopier {
 public:
  using Stages = HopperStages<kFormat, kTokens, kCluster>;

  __device__ __forceinline__ HopperCopier(const MultiplyArgs& args, int num_token_groups, const Stages& stages)
      : args_(args),
        num_token_groups_(num_token_groups),
        stages_(stages),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize) {}

  // Steps [begin, end). Weights are there before the kernel starts, so the first of them are on their way while it
  // waits for the activations.
  __device__ __forceinline__ void Run(int begin, int end) const {
    const int num_first = min(end - begin, Layout::kStages);
    for (int i = 0; i < num_first; ++i) CopyWeights(begin + i, i);
    WaitForEarlierKernels();
    for (int i = 0; i < num_first; ++i) CopyActivations(begin + i, i);
    typename Stages::Turn turn;
    for (int step = begin + num_first; step < end; ++step) {
      stages_.Empty(turn.stage).Wait(turn.parity);
      CopyWeights(step, turn.stage);
      CopyActivations(step, turn.stage);
      turn.Advance();
    }
  }

 private:
  using Layout = typename Stages::Layout;

  // Announces what the stage is to hold, and begins to copy this block's share of the weights.
  __device__ __forceinline__ void CopyWeights(int step, int stage) const {
    constexpr int kPanels = kPanelsPerBlock / kCluster;
    TransferBarrier& full = stages_.Full(stage);
    const int bytes = HopperTilesOf<kFormat>(args_, step) * Layout::kTileBytes;
    if (lane_ == 0) full.ArriveAndExpect(Layout::kActivationBytes + kPanelsPerBlock * bytes);
    SyncWarp();
    if (lane_ >= kPanels) return;
    const int panel_in_block = (kCluster > 1 ? BlockInCluster() * kPanels : 0) + lane_;
    // What is beyond the last panel is not stored.
    const int panel = min(static_cast<int>(blockIdx.y) * kPanelsPerBlock + panel_in_block, args_.num_panels - 1);
    const int64_t tile = int64_t{panel} * args_.num_tiles + step * Layout::kTiles;
    const std::byte* const from = args_.panels + tile * Layout::kTileBytes;
    std::byte* const to = stages_.Weights(stage) + panel_in_block * Layout::kPanelBytes;
    if constexpr (kCluster > 1) {
      CopyBulkToBlocks(to, from, bytes, full, (1 << kCluster) - 1);
    } else {
      CopyBulk(to, from, bytes, full);
    }
  }

  __device__ __forceinline__ void CopyActivations(int step, int stage) const {
    if (lane_ != kPanelsPerBlock) return;
    const int64_t row = int64_t{step} * num_token_groups_ * 8 + static_cast<int>(blockIdx.x) * kTokens;
    CopyBulk(stages_.Activations(stage), args_.tokens + row * kHopperRowBytes, Layout::kActivationBytes,
             stages_.Full(stage));
  }

  const MultiplyArgs& args_;
  const int num_token_groups_;
  const Stages& stages_;
  const int lane_;
};

#endif  // QUIRE_HOPPER_CODE

}  // namespace quire
