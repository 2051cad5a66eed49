// The body of the kernel of kernels/cuda/matmul_kernel.h. Included by one file for each width of codes, so that they
// are compiled beside each other.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_epilogue.cuh"
#include "kernels/cuda/matmul_kernel.h"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {

template <WeightFormat kFormat, int kTokens>
class Multiplier {
 public:
  static constexpr int kTokenTiles = kTokens / 8;  // What one instruction has columns for.

  // Products of a lane: of its warp's panels and the block's tokens, as the instruction lays them out.
  struct Sums {
    float values[kPanelsPerWarp][kTokenTiles][4];

    __device__ __forceinline__ void Clear() {
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
#pragma unroll
        for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
          for (int i = 0; i < 4; ++i) values[panel][tile][i] = 0;
        }
      }
    }
    __device__ __forceinline__ void Add(const Sums& other) {
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
#pragma unroll
        for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
          for (int i = 0; i < 4; ++i) values[panel][tile][i] += other.values[panel][tile][i];
        }
      }
    }
  };

  // Of all stages; the launch asks for it.
  static constexpr int kTileBytes = LayoutOf(kFormat).tile_bytes();
  static constexpr int kStageBytes = kPanelsPerBlock * kTileBytes + kTokens * kTileFeatures * 2;
  static constexpr int kWantedBytes = 44 << 10;
  static constexpr int kStages = kWantedBytes / kStageBytes < 3   ? 3
                                 : kWantedBytes / kStageBytes > 8 ? 8
                                                                  : kWantedBytes / kStageBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;

  __device__ __forceinline__ explicit Multiplier(const MultiplyArgs& args)
      : args_(args),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        first_panel_(static_cast<int>(blockIdx.x) * kPanelsPerBlock + warp_ * kPanelsPerWarp),
        first_token_(static_cast<int>(blockIdx.y) * kTokens) {}

  // sums = the products over tiles [begin, end).
  __device__ __forceinline__ void MultiplySlice(int begin, int end, Sums& sums) {
    sums.Clear();
    MultiplyTiles(begin, end, [&](int tile, const std::byte* stage) {
      static_cast<void>(tile);
      MultiplyStage(stage, sums);
    });
  }

  // totals = the sum of the products over each of the slices, in order.
  __device__ __forceinline__ void MultiplyAllSlices(Sums& totals) {
    totals.Clear();
    Sums sums;
    sums.Clear();
    int slice = 0;
    int last = SliceBegin(1) - 1;
    MultiplyTiles(0, args_.num_tiles, [&](int tile, const std::byte* stage) {
      MultiplyStage(stage, sums);
      if (tile != last) return;
      totals.Add(sums);
      sums.Clear();
      ++slice;
      last = SliceBegin(slice + 1) - 1;
    });
  }

  __device__ __forceinline__ int SliceBegin(int slice) const { return slice * args_.num_tiles / args_.num_slices; }

  // Puts the sums of slice blockIdx.z aside. In the block that is the last of its tile to do so, sums = 0 + the sums of
  // all slices in order, and the result is true, for all threads.
  __device__ __forceinline__ bool Combine(Sums& sums) {
    const int tile = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
    constexpr int kFragments = kPanelsPerWarp * kTokenTiles;
    float4* const partial = reinterpret_cast<float4*>(args_.partial_sums) +
                            int64_t{tile} * args_.num_slices * kFragments * kMultiplyThreads + threadIdx.x;
    const auto at = [&](int slice, int panel, int token_tile) -> float4& {
      return partial[((slice * kPanelsPerWarp + panel) * kTokenTiles + token_tile) * kMultiplyThreads];
    };
#pragma unroll
    for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
#pragma unroll
      for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
        if (!HasTokens(token_tile)) break;
        const float(&values)[4] = sums.values[panel][token_tile];
        at(static_cast<int>(blockIdx.z), panel, token_tile) = make_float4(values[0], values[1], values[2], values[3]);
      }
    }
    if (!IsLastOfTile(tile)) return false;
    sums.Clear();
    for (int slice = 0; slice < args_.num_slices; ++slice) {
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
#pragma unroll
        for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
          if (!HasTokens(token_tile)) break;
          const float4 sum = at(slice, panel, token_tile);
          float(&values)[4] = sums.values[panel][token_tile];
          values[0] += sum.x;
          values[1] += sum.y;
          values[2] += sum.z;
          values[3] += sum.w;
        }
      }
    }
    return true;
  }

  __device__ __forceinline__ void StoreAll(const Sums& sums) const {
#pragma unroll
    for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = first_token_ + 8 * token_tile + 2 * (lane_ % 4) + i % 2;
        const int channel_of_panel = lane_ / 4 + 8 * (i / 2);
        if (token >= args_.num_tokens) continue;
        if (args_.gated) {
          const int channel = first_panel_ / 2 * kPanelRows + channel_of_panel;
          if (channel < args_.num_channels) {
            StoreGatedProduct(args_, token, channel, sums.values[0][token_tile][i], sums.values[1][token_tile][i]);
          }
        } else {
#pragma unroll
          for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
            const int channel = (first_panel_ + panel) * kPanelRows + channel_of_panel;
            if (channel < args_.num_channels) StoreProduct(args_, token, channel, sums.values[panel][token_tile][i]);
          }
        }
      }
    }
  }

 private:
  __device__ __forceinline__ bool HasTokens(int token_tile) const {
    return first_token_ + 8 * token_tile < args_.num_tokens;
  }

  // Calls multiply(tile, its stage) for the tiles in order, while the next ones are being copied. A stage is written
  // again only after the barrier behind its last reading.
  template <typename Multiply>
  __device__ __forceinline__ void MultiplyTiles(int begin, int end, const Multiply& multiply) {
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) {
      if (begin + i < end) CopyStage(begin + i, Stage(i));
      CommitCopies();
    }
    int reading = 0, writing = kStages - 1;
#pragma unroll 1
    for (int tile = begin; tile < end; ++tile) {
      WaitCopies<kStages - 2>();
      SyncBlock();
      if (tile + kStages - 1 < end) CopyStage(tile + kStages - 1, Stage(writing));
      CommitCopies();
      multiply(tile, Stage(reading));
      reading = reading + 1 == kStages ? 0 : reading + 1;
      writing = writing + 1 == kStages ? 0 : writing + 1;
    }
  }

  // A stage: the tiles of the block's panels, then [token][8 vectors] of activations.
  static __device__ __forceinline__ std::byte* Stage(int stage) { return SharedMemory() + stage * kStageBytes; }

  // In every other row the halves change places, so that 8 lanes that read 4 vectors each of two rows, together, touch
  // all banks once.
  static __device__ __forceinline__ int ActivationVector(int token, int vector) {
    return token * 8 + (vector ^ (token % 2 * 4));
  }

  __device__ __forceinline__ void CopyStage(int tile, std::byte* stage) const {
    constexpr int kTileVectors = kTileBytes / kVectorBytes;
    std::byte* const weights = stage + warp_ * kPanelsPerWarp * kTileBytes;
    for (int i = lane_; i < kPanelsPerWarp * kTileVectors; i += kWarpSize) {
      const int panel = first_panel_ + i / kTileVectors;
      const bool valid = panel < args_.num_panels;
      const int64_t from = (int64_t{panel} * args_.num_tiles + tile) * kTileBytes + i % kTileVectors * kVectorBytes;
      CopyAsync16(weights + i * kVectorBytes, args_.panels + (valid ? from : 0), valid);
    }
    auto* const activations = reinterpret_cast<uint4*>(stage + kPanelsPerBlock * kTileBytes);
    const auto* const tokens = reinterpret_cast<const uint4*>(args_.tokens);
    for (int i = static_cast<int>(threadIdx.x); i < kTokens * 8; i += kMultiplyThreads) {
      const int token = first_token_ + i / 8;
      const bool valid = token < args_.num_tokens;
      const int64_t from = (int64_t{token} * args_.num_tiles + tile) * 8 + i % 8;
      CopyAsync16(activations + ActivationVector(i / 8, i % 8), tokens + (valid ? from : 0), valid);
    }
  }

  __device__ __forceinline__ void MultiplyStage(const std::byte* stage, Sums& sums) const {
    if (first_panel_ >= args_.num_panels) return;  // The whole warp.
    const std::byte* const weights = stage + warp_ * kPanelsPerWarp * kTileBytes;
    const auto* const activations = reinterpret_cast<const uint4*>(stage + kPanelsPerBlock * kTileBytes);
    const LaneOfTile<kFormat> lanes[kPanelsPerWarp] = {{weights, lane_}, {weights + kTileBytes, lane_}};
#pragma unroll
    for (int group = 0; group < kTileFeatures / kGroupSize; ++group) {
      uint32_t first[kPanelsPerWarp][4], second[kPanelsPerWarp][4];
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) lanes[panel].Expand(group, first[panel], second[panel]);
#pragma unroll
      for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
        if (!HasTokens(token_tile)) break;
        const uint4 vector = activations[ActivationVector(8 * token_tile + lane_ / 4, 4 * group + lane_ % 4)];
        const uint32_t of_first[2] = {vector.x, vector.y}, of_second[2] = {vector.z, vector.w};
#pragma unroll
        for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
          MmaBFloat16(sums.values[panel][token_tile], first[panel], of_first);
          MmaBFloat16(sums.values[panel][token_tile], second[panel], of_second);
        }
      }
    }
  }

  // Counts the blocks that are done with a tile of the output; true for all threads of the last one, which then sees
  // what the others have written.
  __device__ __forceinline__ bool IsLastOfTile(int tile) const {
    FenceDevice();
    SyncBlock();
    auto* const is_last = reinterpret_cast<int*>(SharedMemory());
    if (threadIdx.x == 0) {
      *is_last = atomicAdd(&args_.tickets[tile], 1) == args_.num_slices - 1;
      if (*is_last) args_.tickets[tile] = 0;  // For the next call.
    }
    SyncBlock();
    FenceDevice();
    return *is_last != 0;
  }

  const MultiplyArgs& args_;
  int lane_, warp_;
  int first_panel_, first_token_;
};

template <WeightFormat kFormat, int kTokens, bool kSerial>
__global__ void __launch_bounds__(kMultiplyThreads) MultiplyKernel(const MultiplyArgs args) {
  using BlockMultiplier = Multiplier<kFormat, kTokens>;
  BlockMultiplier multiplier(args);
  typename BlockMultiplier::Sums sums;
  if constexpr (kSerial) {
    multiplier.MultiplyAllSlices(sums);
  } else {
    const int slice = static_cast<int>(blockIdx.z);
    multiplier.MultiplySlice(multiplier.SliceBegin(slice), multiplier.SliceBegin(slice + 1), sums);
    if (args.num_slices > 1 && !multiplier.Combine(sums)) return;
  }
  multiplier.StoreAll(sums);
}

template <WeightFormat kFormat, int kTokens, bool kSerial>
void LaunchVariant(const MultiplyArgs& args, CudaStream stream) {
  const auto divide_up = [](int a, int b) { return static_cast<unsigned>((a + b - 1) / b); };
  const LaunchShape shape = {
      .grid = dim3(divide_up(args.num_panels, kPanelsPerBlock), divide_up(args.num_tokens, kTokens),
                   kSerial ? 1u : static_cast<unsigned>(args.num_slices)),
      .block = kMultiplyThreads,
      .shared_bytes = Multiplier<kFormat, kTokens>::kSharedBytes,
      .stream = stream};
  Launch(MultiplyKernel<kFormat, kTokens, kSerial>, shape, args);
}

template <WeightFormat kFormat>
void LaunchMultiply(const MultiplyArgs& args, MultiplyShape shape, CudaStream stream) {
  if (shape.serial) {
    QUIRE_CHECK(shape.tokens_per_block == 64);
    return LaunchVariant<kFormat, 64, true>(args, stream);
  }
  switch (shape.tokens_per_block) {
    case 8:
      return LaunchVariant<kFormat, 8, false>(args, stream);
    case 16:
      return LaunchVariant<kFormat, 16, false>(args, stream);
    case 32:
      return LaunchVariant<kFormat, 32, false>(args, stream);
    default:
      QUIRE_CHECK(shape.tokens_per_block == 64);
      return LaunchVariant<kFormat, 64, false>(args, stream);
  }
}

}  // namespace quire
