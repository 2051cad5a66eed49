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
#include "kernels/cuda/matmul_slices.cuh"
#include "kernels/cuda/matmul_stage.cuh"

namespace quire {

template <WeightFormat kFormat, int kTokens, bool kSerial>
class Multiplier {
 public:
  using Layout = StageLayout<kFormat, kTokens, kSerial>;
  using Products = StageProducts<kFormat, kTokens, kSerial>;
  using Sums = typename Products::Sums;
  static constexpr int kTokenTiles = Layout::kTokenTiles, kPanelsPerWarp = Layout::kPanelsPerWarp;
  static constexpr int kThreads = Layout::kThreads, kStages = Layout::kStages;
  static constexpr int kTilesPerStage = Layout::kTilesPerStage, kVectorsOfToken = Layout::kVectorsOfToken;

  __device__ __forceinline__ explicit Multiplier(const MultiplyArgs& args)
      : args_(args),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        first_panel_(static_cast<int>(blockIdx.x) * kPanelsPerBlock + warp_ * kPanelsPerWarp),
        first_token_(static_cast<int>(blockIdx.y) * kTokens) {}

  // sums = the products over tiles [begin, end).
  __device__ __forceinline__ void MultiplySlice(int begin, int end, Sums& sums) {
    sums.Clear();
    MultiplyStages(begin, end,
                   [&](int first, int next, const std::byte* stage) { AddProducts(stage, next - first, sums); });
  }

  // totals = the sum of the products over each of the slices, in order.
  __device__ __forceinline__ void MultiplyAllSlices(Sums& totals) {
    totals.Clear();
    Sums sums;
    sums.Clear();
    int slice = 0;
    int end = BeginOf(1);
    MultiplyStages(0, args_.num_tiles, [&](int first, int next, const std::byte* stage) {
      AddProducts(stage, next - first, sums);
      if (next != end) return;
      totals.Add(sums);
      sums.Clear();
      ++slice;
      end = BeginOf(slice + 1);
    });
  }

  // The first tile of a slice.
  __device__ __forceinline__ int BeginOf(int slice) const {
    return SliceBegin<kFormat>(slice, args_.num_slices, args_.num_tiles);
  }

  // As CombineSlices, for all threads of the block.
  __device__ __forceinline__ bool Combine(Sums& sums) const {
    return CombineSlices<kThreads, 8>(args_, first_token_, sums.values, [] { SyncBlock(); });
  }

  __device__ __forceinline__ void StoreAll(const Sums& sums) const {
    if (args_.gated) return StoreAllGated(sums);
    ForEachSum([&](int token, int token_tile, int i, int channel_of_panel) {
#pragma unroll
      for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
        const int channel = (first_panel_ + panel) * kPanelRows + channel_of_panel;
        if (channel < args_.num_channels) StoreProduct(args_, token, channel, sums.values[panel][token_tile][i]);
      }
    });
  }

 private:
  // fn(token, its tile, index in the sums of a tile, channel of the panel) for all sums of the lane that tokens have.
  template <typename Fn>
  __device__ __forceinline__ void ForEachSum(const Fn& fn) const {
#pragma unroll
    for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = first_token_ + 8 * token_tile + 2 * (lane_ % 4) + i % 2;
        if (token < args_.num_tokens) fn(token, token_tile, i, lane_ / 4 + 8 * (i / 2));
      }
    }
  }

  // A gate and its up-projection are the two panels of a warp, or those of two warps beside each other.
  __device__ __forceinline__ void StoreAllGated(const Sums& sums) const {
    const int first_channel = first_panel_ / 2 * kPanelRows;
    if constexpr (kPanelsPerWarp == 2) {
      ForEachSum([&](int token, int token_tile, int i, int channel_of_panel) {
        const int channel = first_channel + channel_of_panel;
        if (channel >= args_.num_channels) return;
        StoreGatedProduct(args_, token, channel, sums.values[0][token_tile][i], sums.values[1][token_tile][i]);
      });
    } else {
      const int pair = static_cast<int>(threadIdx.x) / (2 * kWarpSize);
      auto* const ups = reinterpret_cast<float*>(SharedMemory());
      const auto at = [&](int token_tile, int i) -> float& {
        return ups[((pair * kTokenTiles + token_tile) * 4 + i) * kWarpSize + lane_];
      };
      SyncBlock();  // Behind the last reading of the stages.
      if (warp_ % 2 == 1) {
        ForEachSum([&](int, int token_tile, int i, int) { at(token_tile, i) = sums.values[0][token_tile][i]; });
      }
      SyncBlock();
      if (warp_ % 2 == 1) return;
      ForEachSum([&](int token, int token_tile, int i, int channel_of_panel) {
        const int channel = first_channel + channel_of_panel;
        if (channel < args_.num_channels) {
          StoreGatedProduct(args_, token, channel, sums.values[0][token_tile][i], at(token_tile, i));
        }
      });
    }
  }

  // What a thread copies next: the first of its vectors of its warp's first panel, and of activations.
  struct Source {
    const std::byte* weights;
    const uint4* tokens;
    int num_tiles;  // From there on.

    __device__ __forceinline__ void Advance() {
      weights += Layout::kPanelStageBytes;
      tokens += kTilesPerStage * kVectorsOfToken;
      num_tiles -= kTilesPerStage;
    }
  };

  __device__ __forceinline__ Source SourceAt(int begin, int end) const {
    const int64_t tile = int64_t{first_panel_} * args_.num_tiles + begin;
    const int64_t tile_of_token = int64_t{first_token_ + token_of_thread()} * args_.num_tiles + begin;
    return {args_.panels + tile * Layout::kTileBytes + lane_ * kVectorBytes,
            reinterpret_cast<const uint4*>(args_.tokens) + tile_of_token * kVectorsOfToken + vector_of_token(),
            end - begin};
  }

  // Calls multiply(first, next, stage) for the stages in order, of tiles [first, next), while the next ones are being
  // copied. A stage is written again only after the barrier behind its last reading. Weights are there before the
  // kernel starts, so the first of them are on their way while it waits for the activations.
  template <typename Multiply>
  __device__ __forceinline__ void MultiplyStages(int begin, int end, const Multiply& multiply) {
    Source source = SourceAt(begin, end);
    const Source first = source;
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) {
      CopyWeights(source, Stage(i));
      CommitCopies();
      source.Advance();
    }
    WaitForEarlierKernels();
    LoadFirstTokens(first);
    int reading = 0, writing = kStages - 1;
#pragma unroll 1
    for (int tile = begin; tile < end; tile += kTilesPerStage) {
      WaitCopies<kStages - 2>();
      SyncBlock();
      CopyWeights(source, Stage(writing));
      ForEachTokenVector(source, Stage(writing),
                         [](int, uint4* to, const uint4* from) { CopyAsync16(to, from, /*valid=*/true); });
      CommitCopies();
      source.Advance();
      multiply(tile, min(tile + kTilesPerStage, end), Stage(reading));
      reading = reading + 1 == kStages ? 0 : reading + 1;
      writing = writing + 1 == kStages ? 0 : writing + 1;
    }
  }

  static __device__ __forceinline__ std::byte* Stage(int stage) { return SharedMemory() + stage * Layout::kStageBytes; }

  __device__ __forceinline__ void AddProducts(const std::byte* stage, int num_tiles, Sums& sums) const {
    if (first_panel_ >= args_.num_panels) return;  // The whole warp.
    Products(lane_, warp_, args_.num_tokens - first_token_).Add(stage, num_tiles, sums);
  }

  // The weights of a stage, as far as there are tiles and panels.
  __device__ __forceinline__ void CopyWeights(const Source& source, std::byte* stage) const {
    constexpr int kStageVectors = Layout::kPanelStageBytes / kVectorBytes;
    const int num_vectors = min(kTilesPerStage, source.num_tiles) * (Layout::kTileBytes / kVectorBytes);
#pragma unroll
    for (int panel = 0; panel < kPanelsPerWarp; ++panel) {
      if (first_panel_ + panel >= args_.num_panels) break;
      const std::byte* const from = source.weights + int64_t{panel} * args_.num_tiles * Layout::kTileBytes;
      std::byte* const to = stage + (warp_ * kPanelsPerWarp + panel) * Layout::kPanelStageBytes + lane_ * kVectorBytes;
#pragma unroll
      for (int i = 0; i < kStageVectors; i += kWarpSize) {
        if (i + lane_ < num_vectors) CopyAsync16(to + i * kVectorBytes, from + i * kVectorBytes, /*valid=*/true);
      }
    }
  }

  // How a stage's activations are shared out: kTokensAtOnce tokens, one vector of all their tiles for each thread.
  static constexpr int kTokensAtOnce = kThreads / (kTilesPerStage * kVectorsOfToken);
  static constexpr int kTokenVectorsOfThread = (kTokens + kTokensAtOnce - 1) / kTokensAtOnce;
  static __device__ __forceinline__ int token_of_thread() {
    return static_cast<int>(threadIdx.x) / (kTilesPerStage * kVectorsOfToken);
  }
  static __device__ __forceinline__ int vector_of_token() {
    return static_cast<int>(threadIdx.x) % (kTilesPerStage * kVectorsOfToken);
  }

  // Calls fn(index, to, from) for the thread's vectors of a stage's activations. What there is no token for is left
  // undefined: it is of no consequence to other tokens' sums.
  template <typename Fn>
  __device__ __forceinline__ void ForEachTokenVector(const Source& source, std::byte* stage, const Fn& fn) const {
    const int tile = vector_of_token() / kVectorsOfToken, vector = vector_of_token() % kVectorsOfToken;
    if (tile >= source.num_tiles) return;
    auto* const to = reinterpret_cast<uint4*>(stage + Layout::kWeightBytes + tile * Layout::kTokenBytesOfTile);
#pragma unroll
    for (int i = 0; i < kTokenVectorsOfThread; ++i) {
      const int token = i * kTokensAtOnce + token_of_thread();
      if (token >= kTokens || first_token_ + token >= args_.num_tokens) break;
      fn(i, to + Layout::ActivationVector(token, vector),
         source.tokens + int64_t{i} * kTokensAtOnce * args_.num_tiles * kVectorsOfToken);
    }
  }

  // The activations of the first stages. Asynchronous copies would end behind those of weights that are under way.
  __device__ __forceinline__ void LoadFirstTokens(const Source& first) const {
    uint4 vectors[kStages - 1][kTokenVectorsOfThread];
    Source source = first;
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage, source.Advance()) {
      ForEachTokenVector(source, Stage(stage),
                         [&](int i, uint4*, const uint4* from) { vectors[stage][i] = __ldcg(from); });
    }
    source = first;
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage, source.Advance()) {
      ForEachTokenVector(source, Stage(stage), [&](int i, uint4* to, const uint4*) { *to = vectors[stage][i]; });
    }
  }

  const MultiplyArgs& args_;
  int lane_, warp_;
  int first_panel_, first_token_;
};

// How many blocks of a variant are to fit into a multiprocessor's registers.
template <WeightFormat kFormat>
constexpr int BlocksWanted(int tokens, bool serial) {
  return serial || (LayoutOf(kFormat).is_float8 && tokens == kMostTokensPerBlock) ? 2 : 4;
}

template <WeightFormat kFormat, int kTokens, bool kSerial>
__global__ void __launch_bounds__(StageLayout<kFormat, kTokens, kSerial>::kThreads,
                                  BlocksWanted<kFormat>(kTokens, kSerial)) MultiplyKernel(const MultiplyArgs args) {
  using BlockMultiplier = Multiplier<kFormat, kTokens, kSerial>;
  AllowNextKernel();
  BlockMultiplier multiplier(args);
  typename BlockMultiplier::Sums sums;
  if constexpr (kSerial) {
    multiplier.MultiplyAllSlices(sums);
  } else {
    const int slice = static_cast<int>(blockIdx.z);
    multiplier.MultiplySlice(multiplier.BeginOf(slice), multiplier.BeginOf(slice + 1), sums);
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
      .block = StageLayout<kFormat, kTokens, kSerial>::kThreads,
      .shared_bytes = StageLayout<kFormat, kTokens, kSerial>::kSharedBytes,
      .stream = stream,
      .overlaps = true};
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
