// How blocks that multiply one slice of the features each bring their sums together (kernels/cuda/matmul_kernel.h,
// "split").
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matmul_kernel.h"

namespace quire {

// Counts the blocks that are done with a tile of the output; true for all threads of the last one, which then sees
// what the others have written. `sync` is a barrier of the calling threads, the block's first among them.
template <typename Sync>
__device__ __forceinline__ bool IsLastOfTile(const MultiplyArgs& args, int tile, const Sync& sync) {
  FenceDevice();
  sync();
  auto* const is_last = reinterpret_cast<int*>(SharedMemory());
  if (threadIdx.x == 0) {
    *is_last = atomicAdd(&args.tickets[tile], 1) == args.num_slices - 1;
    if (*is_last) args.tickets[tile] = 0;  // For the next call.
  }
  sync();
  FenceDevice();
  return *is_last != 0;
}

// Puts the sums of slice blockIdx.z aside. In the block that is the last of its tile (of the grid's x and y) to do so,
// sums = 0 + the sums of all slices in order, and the result is true, for all threads. The block's first kThreads
// threads call it, with the sums of kPanels panels and 8 * kTokenTiles tokens from first_token on as the instructions
// lay them out; `sync` is their barrier. Shared memory is overwritten.
template <int kThreads, int kLoadsAtOnce, int kPanels, int kTokenTiles, typename Sync>
__device__ __forceinline__ bool CombineSlices(const MultiplyArgs& args, int first_token,
                                              float (&sums)[kPanels][kTokenTiles][4], const Sync& sync) {
  const int tile = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
  float4* const partial = reinterpret_cast<float4*>(args.partial_sums) +
                          int64_t{tile} * args.num_slices * kPanels * kTokenTiles * kThreads + threadIdx.x;
  const auto at = [&](int slice, int panel, int token_tile) -> float4& {
    return partial[((slice * kPanels + panel) * kTokenTiles + token_tile) * kThreads];
  };
  const auto has_tokens = [&](int token_tile) { return first_token + 8 * token_tile < args.num_tokens; };
#pragma unroll
  for (int panel = 0; panel < kPanels; ++panel) {
#pragma unroll
    for (int token_tile = 0; token_tile < kTokenTiles; ++token_tile) {
      const float(&values)[4] = sums[panel][token_tile];
      if (has_tokens(token_tile)) {
        at(static_cast<int>(blockIdx.z), panel, token_tile) = make_float4(values[0], values[1], values[2], values[3]);
      }
    }
  }
  if (!IsLastOfTile(args, tile, sync)) return false;
  // Many loads at once, before the first of them is needed.
  constexpr int kTilesAtOnce = kTokenTiles < kLoadsAtOnce ? kTokenTiles : kLoadsAtOnce;
  constexpr int kSlicesAtOnce = kLoadsAtOnce / kTilesAtOnce;
#pragma unroll
  for (int begin = 0; begin < kPanels * kTokenTiles; begin += kTilesAtOnce) {
    const int panel = begin / kTokenTiles, first_tile = begin % kTokenTiles;
    float(*const totals)[4] = &sums[panel][first_tile];
#pragma unroll
    for (int i = 0; i < kTilesAtOnce * 4; ++i) totals[i / 4][i % 4] = 0;
#pragma unroll 1
    for (int first = 0; first < args.num_slices; first += kSlicesAtOnce) {
      float4 parts[kSlicesAtOnce][kTilesAtOnce];
#pragma unroll
      for (int i = 0; i < kSlicesAtOnce; ++i) {
#pragma unroll
        for (int tile_at_once = 0; tile_at_once < kTilesAtOnce; ++tile_at_once) {
          const int token_tile = first_tile + tile_at_once;
          const bool exists = first + i < args.num_slices && has_tokens(token_tile);
          parts[i][tile_at_once] = exists ? __ldcg(&at(first + i, panel, token_tile)) : float4{};
        }
      }
#pragma unroll
      for (int i = 0; i < kSlicesAtOnce; ++i) {
        if (first + i >= args.num_slices) continue;
#pragma unroll
        for (int tile_at_once = 0; tile_at_once < kTilesAtOnce; ++tile_at_once) {
          totals[tile_at_once][0] += parts[i][tile_at_once].x;
          totals[tile_at_once][1] += parts[i][tile_at_once].y;
          totals[tile_at_once][2] += parts[i][tile_at_once].z;
          totals[tile_at_once][3] += parts[i][tile_at_once].w;
        }
      }
    }
  }
  return true;
}

}  // namespace quire
