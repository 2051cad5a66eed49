// The products of what a block of the kernel of kernels/cuda/matmul_kernel.h has in shared memory at a time.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matmul_kernel.h"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {

// How a block shares out its work, and its memory: some stages, each [panel of the block][tile] of weights, then
// [tile][token][vectors of a token] of activations.
template <WeightFormat kFormat, int kTokens, bool kSerial>
struct StageLayout {
  static constexpr int kTokenTiles = kTokens / 8;  // What one instruction has columns for.
  // Few tokens give a warp little to do at once: there are to be many warps.
  static constexpr int kPanelsPerWarp = kTokens <= 16 ? 1 : 2;
  static constexpr int kWarps = kPanelsPerBlock / kPanelsPerWarp;
  static constexpr int kThreads = kWarps * kLanes;

  static constexpr WeightLayout kWeights = LayoutOf(kFormat);
  // Codes of 4 bits come two tiles at a time, for barriers to be few beside the work between them; float8 by the chunk.
  static constexpr int kMost4BitTiles = kTokens <= 16 && kWeights.code_bits == 4 ? 2 : 1;
  static constexpr int kTilesPerStage = kWeights.is_float8 ? kChunkTiles : kMost4BitTiles;
  static constexpr int kTileBytes = kWeights.tile_bytes();
  static constexpr int kPanelStageBytes = kTilesPerStage * kTileBytes;
  static constexpr int kWeightBytes = kPanelsPerBlock * kPanelStageBytes;
  static constexpr int kFeatureBytes = kWeights.is_float8 ? 1 : 2;                      // Of activations.
  static constexpr int kVectorsOfToken = kTileFeatures * kFeatureBytes / kVectorBytes;  // Of a tile.
  static constexpr int kTokenBytesOfTile = kTokens * kVectorsOfToken * kVectorBytes;
  static constexpr int kStageBytes = kWeightBytes + kTilesPerStage * kTokenBytesOfTile;
  // With so much four blocks fit beside each other into a multiprocessor of compute capability 9.0: as many as a split
  // matrix has at most, so that none is left to begin when the others end.
  static constexpr int kWantedBytes = 56 << 10;
  static constexpr int kFewestStages = kSerial ? 3 : 2;
  static constexpr int kStages = kWantedBytes / kStageBytes < kFewestStages ? kFewestStages
                                 : kWantedBytes / kStageBytes > 8           ? 8
                                                                            : kWantedBytes / kStageBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;  // The launch asks for it.

  // Where a vector of a token lies among those of a tile. In every other row the halves change places, so that 8 lanes
  // that read 4 vectors each of two rows, together, touch all banks once; in float8, where it is 16 lanes and 2 vectors
  // each of four rows, in two rows of four.
  static __device__ __forceinline__ int ActivationVector(int token, int vector) {
    return token * kVectorsOfToken + (vector ^ (kWeights.is_float8 ? token / 2 % 2 * 2 : token % 2 * 4));
  }
};

// Sums of products of a lane: of its warp's panels and the block's tokens, as the instruction lays them out.
template <int kPanelsPerWarp, int kTokenTiles>
struct LaneSums {
  float values[kPanelsPerWarp][kTokenTiles][4];

  __device__ __forceinline__ void Clear() { *this = LaneSums{}; }
  __device__ __forceinline__ void Add(const LaneSums& other) {
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

template <WeightFormat kFormat, int kTokens, bool kSerial>
class StageProducts {
 public:
  using Layout = StageLayout<kFormat, kTokens, kSerial>;
  static constexpr int kPanelsPerWarp = Layout::kPanelsPerWarp, kTokenTiles = Layout::kTokenTiles;
  using Sums = LaneSums<kPanelsPerWarp, kTokenTiles>;

  // For a lane of a warp of the block, of whose tokens there are `num_tokens`, or all.
  __device__ __forceinline__ StageProducts(int lane, int warp, int num_tokens)
      : lane_(lane), warp_(warp), num_tokens_(num_tokens) {}

  // sums += the products of the first tiles of a stage.
  __device__ __forceinline__ void Add(const std::byte* stage, int num_tiles, Sums& sums) const {
    if constexpr (Layout::kWeights.is_float8) {
      AddChunk(stage, num_tiles, sums);
    } else {
#pragma unroll 1
      for (int i = 0; i < Layout::kTilesPerStage; ++i) {
        if (i >= num_tiles) continue;
        MultiplyTile(stage, i, 0, kTokenTiles,
                     [&](int panel, int tile) -> float(&)[4] { return sums.values[panel][tile]; });
      }
    }
  }

 private:
  // Where there are no more tokens is asked once for a few tiles of them, which do not wait for each other.
  static constexpr int kTilesAtOnce = kTokenTiles < 2 ? kTokenTiles : 2;
  static constexpr int kGroups = kTileFeatures / kGroupSize;

  // sums += the sums of a chain of its own. To expand the weights again for the next tokens takes less than the
  // registers for sums of all tokens twice.
  __device__ __forceinline__ void AddChunk(const std::byte* stage, int num_tiles, Sums& sums) const {
#pragma unroll
    for (int begin = 0; begin < kTokenTiles; begin += kTilesAtOnce) {
      if (!HasTokens(begin)) break;
      LaneSums<kPanelsPerWarp, kTilesAtOnce> chain = {};
#pragma unroll 1
      for (int i = 0; i < num_tiles; ++i) {
        MultiplyTile(stage, i, begin, begin + kTilesAtOnce,
                     [&](int panel, int tile) -> float(&)[4] { return chain.values[panel][tile - begin]; });
      }
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
#pragma unroll
        for (int i = 0; i < 4 * kTilesAtOnce; ++i) {
          sums.values[panel][begin + i / 4][i % 4] += chain.values[panel][i / 4][i % 4];
        }
      }
    }
  }

  // Adds to sums_of(panel, tile of tokens) the products of a tile of the warp's panels with tiles [begin, end) of
  // tokens, as far as there are any.
  template <typename SumsOf>
  __device__ __forceinline__ void MultiplyTile(const std::byte* stage, int tile_of_stage, int begin, int end,
                                               const SumsOf& sums_of) const {
    const std::byte* const weights =
        stage + warp_ * kPanelsPerWarp * Layout::kPanelStageBytes + tile_of_stage * Layout::kTileBytes;
    LaneOfTile<kFormat> lanes[kPanelsPerWarp];
#pragma unroll
    for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
      lanes[panel] = {weights + panel * Layout::kPanelStageBytes, lane_};
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      uint32_t first[kPanelsPerWarp][4], second[kPanelsPerWarp][4];
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) lanes[panel].Expand(group, first[panel], second[panel]);
#pragma unroll
      for (int tile = begin; tile < end; tile += kTilesAtOnce) {
        if (!HasTokens(tile)) break;
        MultiplyGroup(stage, tile_of_stage, group, tile, first, second, sums_of);
      }
    }
  }

  // The same for a group of features, of which `first` and `second` are the weights, and the next few tiles of tokens.
  template <typename SumsOf>
  __device__ __forceinline__ void MultiplyGroup(const std::byte* stage, int tile_of_stage, int group, int begin,
                                                const uint32_t (&first)[kPanelsPerWarp][4],
                                                const uint32_t (&second)[kPanelsPerWarp][4],
                                                const SumsOf& sums_of) const {
    const std::byte* const tokens = stage + Layout::kWeightBytes + tile_of_stage * Layout::kTokenBytesOfTile;
    uint4 features[kTilesAtOnce];
#pragma unroll
    for (int i = 0; i < kTilesAtOnce; ++i) features[i] = LoadFeatures(tokens, 8 * (begin + i) + lane_ / 4, group);
#pragma unroll
    for (int i = 0; i < kTilesAtOnce; ++i) {
      const uint32_t of_first[2] = {features[i].x, features[i].y};
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
        MmaBFloat16(sums_of(panel, begin + i), first[panel], of_first);
      }
    }
#pragma unroll
    for (int i = 0; i < kTilesAtOnce; ++i) {
      const uint32_t of_second[2] = {features[i].z, features[i].w};
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
        MmaBFloat16(sums_of(panel, begin + i), second[panel], of_second);
      }
    }
  }

  // The lane's features of a group, in bfloat16.
  __device__ __forceinline__ uint4 LoadFeatures(const std::byte* tokens, int token, int group) const {
    if constexpr (Layout::kWeights.is_float8) {
      const int vector = Layout::ActivationVector(token, 2 * group + lane_ % 4 / 2);
      const uint2 codes = reinterpret_cast<const uint2*>(tokens)[2 * vector + lane_ % 2];
      return make_uint4(WidenFloat8Pair<0, 1>(codes.x), WidenFloat8Pair<2, 3>(codes.x), WidenFloat8Pair<0, 1>(codes.y),
                        WidenFloat8Pair<2, 3>(codes.y));
    } else {
      return reinterpret_cast<const uint4*>(tokens)[Layout::ActivationVector(token, 4 * group + lane_ % 4)];
    }
  }

  __device__ __forceinline__ bool HasTokens(int token_tile) const { return 8 * token_tile < num_tokens_; }

  int lane_, warp_, num_tokens_;
};

}  // namespace quire
