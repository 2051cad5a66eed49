// The matrix product of kernels/cuda/matmul_kernel.h for many tokens, on devices of compute capability 9.0: the same
// sums to the bit, by instructions of whole warpgroups.
//
// A block of two warpgroups multiplies 8 panels of weights with 128 tokens. One more warp copies tiles of weights and
// of activations into shared memory, some stages ahead; a warp of a warpgroup expands one panel to bfloat16 in
// registers. All slices follow each other, as in the "serial" variant there. Two blocks beside each other, of the same
// panels, may form a cluster: each copies half of the weights, for both.
//
// The activations lie as the instructions read them, [tile][group of 8 tokens][8 rows of 128 bytes], rounded up to
// whole blocks of tokens. A row has a tile's 64 features in the order in which kernels/cuda/weight_format.h gives those
// of weights to the instructions, and its 16-byte pieces are swizzled (kernels/cuda/hopper.cuh).
#pragma once

#include <cstdint>

#include "kernels/cuda/matmul_kernel.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/weight_format.h"

namespace quire {

inline constexpr int kHopperTokensPerBlock = 128;
inline constexpr int kHopperRowBytes = 128;

// Tiles whose features a row of activations holds.
constexpr int HopperTilesPerRow(WeightFormat) { return kHopperRowBytes / (kTileFeatures * 2); }

// Tokens, rounded up to what the kernel reads: whole blocks, in pairs.
constexpr int64_t PaddedHopperTokens(int64_t num_tokens) {
  constexpr int64_t kTokens = 2 * kHopperTokensPerBlock;
  return (num_tokens + kTokens - 1) / kTokens * kTokens;
}

// Whether this device and this program's machine code have the kernel.
bool HasHopperMultiply();

// args.tokens is what PrepareRows has made in RowOrder::kHopper; partial_sums and tickets are not used. What fails is
// kept for cudaGetLastError. REQUIRES: HasHopperMultiply().
template <WeightFormat kFormat>
void MultiplyOnHopper(const MultiplyArgs& args, CudaStream stream);

}  // namespace quire
