// What a block of kernels/cuda/attention_hopper_rows.cuh has in shared memory, and how K and V come there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_loads.cuh"
#include "kernels/cuda/hopper.cuh"

namespace quire {

// What the kernel takes.
struct HopperAttentionParameters {
  CudaAttentionArgs args;
  int group;  // Query heads of one KV head.
  float query_factor;
};

#ifdef QUIRE_HOPPER_CODE
using HopperBarrier = TransferBarrier;
#else
using HopperBarrier = uint64_t;  // For nvcc's host code, which asks for the size.
#endif

constexpr int kHopperStages = 4;
constexpr int kHopperRowGroups = 2;  // Warpgroups that have rows.
constexpr int kHopperAttentionThreads = (kHopperRowGroups + 1) * kWarpgroupThreads;

template <int kHeadDim>
struct HopperAttentionShared {
  // Of a chunk: [64 dimensions][token][128 bytes], swizzled (kernels/cuda/hopper.cuh).
  static constexpr int kTileBytes = kCudaChunkTokens * kHeadDim * 2;

  alignas(1024) std::byte keys[kHopperStages][kTileBytes];
  alignas(1024) std::byte values[kHopperStages][kTileBytes];
  // The weighted values of the splits before this one.
  alignas(16) float4 totals[kHopperRowGroups][kHeadDim / 8][kWarpgroupThreads];
  float value_scales[kHopperStages][kCudaChunkTokens];
  int unsound[kHopperStages];  // The latest of the item's chunks, counted from 1, that has values kept as NaN.
  HopperBarrier full[kHopperStages];
  HopperBarrier empty[kHopperStages];
};

#ifdef QUIRE_HOPPER_CODE

// Where the item's n'th chunk is, counted from 0.
struct HopperStage {
  int index;
  int parity;  // Of its phase of the barriers.

  __device__ __forceinline__ explicit HopperStage(int n) : index(n % kHopperStages), parity(n / kHopperStages % 2) {}
};

// What the loader's threads do.
template <int kHeadDim>
class HopperLoader {
 public:
  using Shared = HopperAttentionShared<kHeadDim>;

  __device__ HopperLoader(const CudaAttentionArgs& args, int kv_head, Shared& shared)
      : args_(args),
        kv_head_(kv_head),
        shared_(shared),
        row_(threadIdx.x % kWarpgroupThreads / kRowPieces),
        piece_(threadIdx.x % kRowPieces),
        offset_(piece_ / 8 * kHalfBytes + row_ * 128 + (piece_ % 8 ^ row_ % 8) * 16) {}

  // A chunk is passed on when the copies of the one after it are under way.
  __device__ __forceinline__ void Run(const CudaAttentionItem& item) {
    const int begin_chunk = item.begin / kCudaChunkTokens;
    const int num_chunks = (item.end + kCudaChunkTokens - 1) / kCudaChunkTokens - begin_chunk;
    int position = begin_chunk * kCudaChunkTokens;
    pages_ = args_.block_indices + item.first_page + position / args_.layer.page_size;
    place_ = position % args_.layer.page_size;
    for (int n = 0; n < num_chunks; ++n, position += kCudaChunkTokens) {
      const HopperStage stage(n);
      if (n >= kHopperStages) shared_.empty[stage.index].Wait(1 - stage.parity);
      if (position >= item.begin && position + kCudaChunkTokens <= item.end) {
        Begin<true>(item, position, stage);
      } else {
        Begin<false>(item, position, stage);
      }
      if (n == 0) continue;
      WaitCopies<1>();
      Finish(n - 1);
    }
    WaitCopies<0>();
    Finish(num_chunks - 1);
  }

 private:
  static constexpr int kRowPieces = kHeadDim / 8;  // Of 16 bytes; a thread has the same piece of some rows,
  static constexpr int kRowStep = kWarpgroupThreads / kRowPieces;  // which are so far apart.
  static constexpr int kRows = kCudaChunkTokens / kRowStep;
  static constexpr int kHalfBytes = kCudaChunkTokens * 128;
  static_assert(kRowStep % 8 == 0 && kRowStep <= kCudaRunTokens && kWarpSize % kRowPieces == 0);

  // Begins to copy the chunk's tokens in the item's range; everything else becomes 0.
  template <bool kIsWhole>
  __device__ __forceinline__ void Begin(const CudaAttentionItem& item, int position, HopperStage stage) {
    std::byte* const keys = shared_.keys[stage.index] + offset_;
    std::byte* const values = shared_.values[stage.index] + offset_;
    const CudaKvLayer& layer = args_.layer;
#pragma unroll
    for (int run = 0; run < kCudaChunkTokens; run += kCudaRunTokens) {
      const bool is_inside = kIsWhole || (position + run < item.end && position + run + kCudaRunTokens > item.begin);
      const int64_t page = is_inside ? *pages_ : 0;
      const int64_t token = (page * layer.num_kv_heads + kv_head_) * layer.page_size + place_ + row_;
      const int64_t from = token * (2 * kHeadDim) + piece_ * 16;
#pragma unroll
      for (int row = 0; row < kCudaRunTokens; row += kRowStep) {
        const int own = position + run + row + row_;
        const bool is_valid = kIsWhole || (own >= item.begin && own < item.end);
        CopyAsync16(keys + (run + row) * 128, layer.keys.elements + from + row * (2 * kHeadDim), is_valid);
        CopyAsync16(values + (run + row) * 128, layer.values.elements + from + row * (2 * kHeadDim), is_valid);
      }
      place_ += kCudaRunTokens;
      if (place_ == layer.page_size) {
        place_ = 0;
        ++pages_;
      }
    }
    CommitCopies();
  }

  // Passes on what has come. Values kept as NaN are replaced by zeros, and their scales by NaN, as in PanelLoader.
  __device__ __forceinline__ void Finish(int n) {
    const HopperStage stage(n);
    std::byte* const values = shared_.values[stage.index] + offset_;
    SyncWarp();  // A warp has copied whole rows.
    unsigned unsound_rows = 0;
    if (piece_ == 0) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const uint32_t bits = *reinterpret_cast<const uint32_t*>(values + i * kRowStep * 128);
        const bool is_unsound = (bits & 0x7fff) > 0x7f80;
        if (is_unsound) unsound_rows |= 1u << i;
        shared_.value_scales[stage.index][row_ + i * kRowStep] = is_unsound ? __uint_as_float(0x7fffffffu) : 1.0f;
      }
    }
    if (Any(unsound_rows != 0)) {
      unsound_rows = Shuffle(unsound_rows, threadIdx.x % kWarpSize - piece_);
      for (int i = 0; i < kRows; ++i) {
        if ((unsound_rows >> i & 1) != 0) {
          *reinterpret_cast<uint4*>(values + i * kRowStep * 128) = make_uint4(0, 0, 0, 0);
        }
      }
      shared_.unsound[stage.index] = n + 1;
    }
    FenceForAsyncProxy();
    SyncWarp();
    if (threadIdx.x % kWarpSize == 0) shared_.full[stage.index].Arrive();
  }

  const CudaAttentionArgs& args_;
  const int kv_head_;
  Shared& shared_;
  const int row_;
  const int piece_;
  const int offset_;      // Of its first piece in a tile.
  const int32_t* pages_;  // The page of the next position to be copied,
  int place_;             // and its place there.
};

#endif  // QUIRE_HOPPER_CODE

}  // namespace quire
