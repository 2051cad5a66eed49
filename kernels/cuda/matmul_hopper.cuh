// The body of the kernel of kernels/cuda/matmul_hopper.h. Included by one file for each width of codes.
#pragma once

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_epilogue.cuh"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/matmul_hopper_stages.cuh"
#include "kernels/cuda/matmul_slices.cuh"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {

// Whether registers are dealt anew between the warps that multiply and the one that copies, which then is a warpgroup.
// In float8 many tokens take three sums: of a chunk, of the slice, and the total.
constexpr bool HopperDealsRegisters(WeightFormat format, int tokens) {
  return format == WeightFormat::kFloat8 && tokens == kHopperTokensPerBlock;
}
constexpr int HopperThreads(WeightFormat format, int tokens) {
  return (kHopperMultiplyingWarps + (HopperDealsRegisters(format, tokens) ? 4 : 1)) * kWarpSize;
}
inline constexpr int kHopperCopyingRegisters = 40;
inline constexpr int kHopperMultiplyingRegisters = 232;
// Of the 168 of each that a block of three warpgroups begins with.
static_assert(kHopperCopyingRegisters + 2 * kHopperMultiplyingRegisters <= 3 * 168);

#ifdef QUIRE_HOPPER_CODE

template <WeightFormat kFormat, int kTokens, int kCluster>
class HopperMultiplier {
 public:
  static constexpr bool kSplit = kTokens < kHopperTokensPerBlock;
  static constexpr bool kDealsRegisters = HopperDealsRegisters(kFormat, kTokens);

  __device__ __forceinline__ HopperMultiplier(const MultiplyArgs& args, int num_token_groups)
      : args_(args),
        num_token_groups_(num_token_groups),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize) {}

  __device__ __forceinline__ void Run() {
    if (threadIdx.x == 0) stages_.InitBarriers();
    SyncAll();
    const int slice = static_cast<int>(blockIdx.z);
    const int begin = kSplit ? BeginOf(slice) : 0, end = BeginOf(kSplit ? slice + 1 : args_.num_slices);
    if (warp_ >= kHopperMultiplyingWarps) {
      if constexpr (kDealsRegisters) GiveRegisters<kHopperCopyingRegisters>();
      if (warp_ == kHopperMultiplyingWarps) {
        HopperCopier<kFormat, kTokens, kCluster>(args_, num_token_groups_, stages_).Run(begin, end);
      }
    } else {
      if constexpr (kDealsRegisters) TakeRegisters<kHopperMultiplyingRegisters>();
      if constexpr (kSplit) {
        MultiplyOneSlice(begin, end);
      } else {
        MultiplyAllSlices();
      }
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

  __device__ __forceinline__ void MultiplyOneSlice(int begin, int end) const {
    WaitForEarlierKernels();  // Before anything is written, or added to.
    float sums[kSumRegisters];
    Turn turn;
    MultiplySlice(begin, end, turn, sums);
    if (args_.num_slices > 1 && !Combine(sums)) return;
    StoreAll(sums);
  }

  __device__ __forceinline__ void MultiplyAllSlices() const {
    float totals[kSumRegisters];
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) totals[i] = 0;
    Turn turn;
    int begin = 0;
    for (int slice = 0; slice < args_.num_slices; ++slice) {
      const int end = BeginOf(slice + 1);
      float sums[kSumRegisters];
      MultiplySlice(begin, end, turn, sums);
      begin = end;
#pragma unroll
      for (int i = 0; i < kSumRegisters; ++i) totals[i] += sums[i];
    }
    StoreAll(totals);
  }

  // As CombineSlices, for all threads that multiply.
  __device__ __forceinline__ bool Combine(float (&sums)[kSumRegisters]) const {
    float by_tile[1][kTokens / 8][4];
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) by_tile[0][i / 4][i % 4] = sums[i];
    const auto sync = [] { SyncThreads(kBarrier, kMultiplyingThreads); };
    if (!CombineSlices<kMultiplyingThreads, 4>(args_, first_token(), by_tile, sync)) return false;
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) sums[i] = by_tile[0][i / 4][i % 4];
    return true;
  }

  // sums = the products over steps [begin, end).
  __device__ __forceinline__ void MultiplySlice(int begin, int end, Turn& turn, float (&sums)[kSumRegisters]) const {
    if constexpr (kFormat == WeightFormat::kFloat8) {
      MultiplySliceOfFloat8(begin, end, turn, sums);
    } else {
      MultiplySliceOfBFloat16(end - begin, turn, sums);
    }
  }

  // A stage is a chunk, whose sum is made in one chain and then added to the slice's: the instruction keeps too few
  // bits for a longer one. Meanwhile the other warpgroup multiplies.
  __device__ __forceinline__ void MultiplySliceOfFloat8(int begin, int end, Turn& turn,
                                                        float (&sums)[kSumRegisters]) const {
#pragma unroll
    for (int i = 0; i < kSumRegisters; ++i) sums[i] = 0;
#pragma unroll 1
    for (int step = begin; step < end; ++step) {
      stages_.Full(turn.stage).Wait(turn.parity);
      float chunk[kSumRegisters];
      MultiplyChunk(turn.stage, HopperTilesOf<kFormat>(args_, step), chunk);
      stages_.Release(turn.stage, lane_);
#pragma unroll
      for (int i = 0; i < kSumRegisters; ++i) sums[i] += chunk[i];
      turn.Advance();
    }
  }

  __device__ __forceinline__ void MultiplyChunk(int stage, int num_tiles, float (&sums)[kSumRegisters]) const {
    const std::byte* const lane = stages_.Weights(stage) + warp_ * Layout::kPanelBytes + lane_ * kVectorBytes;
    const uint64_t activations = DescribeRows(stages_.Activations(stage));
    uint32_t weights[Layout::kTiles][kGroups][4];
#pragma unroll
    for (int tile = 0; tile < Layout::kTiles; ++tile) {
      if (tile >= num_tiles) break;
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        const uint4 words = *reinterpret_cast<const uint4*>(lane + (tile * kGroups + group) * kLanes * kVectorBytes);
        uint32_t(&a)[4] = weights[tile][group];
        a[0] = words.x, a[1] = words.y, a[2] = words.z, a[3] = words.w;
      }
      WgmmaFence();
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        WgmmaFloat8(sums, weights[tile][group], activations + (tile * kGroups + group) * 2, tile + group > 0);
      }
      WgmmaCommit();
      // With few tokens what counts is registers, of which there are to be enough for more blocks.
      if (kSplit) WgmmaWait<0>();
    }
    WgmmaWait<0>();
  }

  // While a group of instructions runs, the weights for the next one are expanded.
  __device__ __forceinline__ void MultiplySliceOfBFloat16(int num_tiles, Turn& turn,
                                                          float (&sums)[kSumRegisters]) const {
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
__global__ void __launch_bounds__(kHopperCode ? HopperThreads(kFormat, kTokens) : kWarpSize,
                                  HopperBlocksWanted(kTokens))
    HopperMultiplyKernel([[maybe_unused]] const MultiplyArgs args, [[maybe_unused]] int num_token_groups) {
#ifdef QUIRE_HOPPER_CODE
  using BlockMultiplier = HopperMultiplier<kFormat, kTokens, kCluster>;
  if constexpr (BlockMultiplier::kSplit) AllowNextKernel();
  BlockMultiplier(args, num_token_groups).Run();
#endif
}

template <WeightFormat kFormat, int kTokens, int kCluster>
void LaunchHopperVariant(const MultiplyArgs& args, CudaStream stream) {
  constexpr bool kSplit = kTokens < kHopperTokensPerBlock;
  const auto divide_up = [](int a, int b) { return static_cast<unsigned>((a + b - 1) / b); };
  // Blocks that run side by side have the same weights, and all of the activations, at hand in the GPU's cache.
  const LaunchShape shape = {
      .grid = dim3(divide_up(args.num_tokens, kTokens * kCluster) * kCluster,
                   divide_up(args.num_panels, kPanelsPerBlock), kSplit ? static_cast<unsigned>(args.num_slices) : 1u),
      .block = static_cast<unsigned>(HopperThreads(kFormat, kTokens)),
      .shared_bytes = HopperLayout<kFormat, kTokens>::kSharedBytes,
      .cluster = kCluster,
      .stream = stream,
      .overlaps = kSplit};
  const auto num_token_groups = static_cast<int>(PaddedHopperTokens(args.num_tokens) / 8);
  Launch(HopperMultiplyKernel<kFormat, kTokens, kCluster>, shape, args, num_token_groups);
}

template <WeightFormat kFormat>
void MultiplyOnHopper(const MultiplyArgs& args, MultiplyShape shape, CudaStream stream) {
  constexpr int kMany = kHopperTokensPerBlock;
  if constexpr (kFormat == WeightFormat::kFloat8) {
    if (args.num_tokens <= shape.tokens_per_block && !shape.serial) {
      switch (shape.tokens_per_block) {
        case 8:
          return LaunchHopperVariant<kFormat, 8, 1>(args, stream);
        case 16:
          return LaunchHopperVariant<kFormat, 16, 1>(args, stream);
        case 32:
          return LaunchHopperVariant<kFormat, 32, 1>(args, stream);
        default:
          QUIRE_CHECK(shape.tokens_per_block == 64);
          return LaunchHopperVariant<kFormat, 64, 1>(args, stream);
      }
    }
  }
  if (args.num_tokens <= kMany) return LaunchHopperVariant<kFormat, kMany, 1>(args, stream);
  LaunchHopperVariant<kFormat, kMany, kMaxCluster>(args, stream);
}

}  // namespace quire
