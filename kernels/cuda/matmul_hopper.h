// The matrix product of kernels/cuda/matmul_kernel.h by instructions of whole warpgroups, on devices of compute
// capability 9.0: of many tokens, with the same bits, and of any number of tokens with weights in float8. The
// instructions for float8 keep fewer bits than those of the portable kernel, so that a device that has them makes all
// such products here.
//
// A block of two warpgroups multiplies 8 panels of weights with 128 tokens. One more warp copies tiles of weights and
// of activations into shared memory, some stages ahead; a warp of a warpgroup has one panel, which it expands to
// bfloat16 in registers unless it is in float8. All slices follow each other, as in the "serial" variant there. Two
// blocks beside each other, of the same panels, may form a cluster: each copies half of the weights, for both. Of few
// tokens, in float8, a block takes 8, 16, 32 or 64 at a time and one slice, as in the "split" variant there.
//
// The activations lie as the instructions read them, [128 bytes of features][group of 8 tokens][8 rows of 128 bytes],
// rounded up to whole blocks of tokens. A row has the features of one tile in bfloat16 or two in float8, in the order
// in which kernels/cuda/weight_format.h gives those of weights to the instructions, and its 16-byte pieces are swizzled
// (kernels/cuda/hopper.cuh). What an odd number of tiles leaves of the last rows is not read.
#pragma once

#include <cstdint>

#include "kernels/cuda/matmul_kernel.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/weight_format.h"

namespace quire {

inline constexpr int kHopperTokensPerBlock = 128;
inline constexpr int kHopperRowBytes = 128;

// Tiles whose features a row of activations holds, in bfloat16 or, for weights in float8, in that: then a chunk.
constexpr int HopperTilesPerRow(WeightFormat format) { return LayoutOf(format).is_float8 ? kChunkTiles : 1; }
static_assert(kChunkTiles * kTileFeatures == kHopperRowBytes && kTileFeatures * 2 == kHopperRowBytes);

// Tokens, rounded up to what the kernel reads: whole blocks, in pairs.
constexpr int64_t PaddedHopperTokens(int64_t num_tokens) {
  constexpr int64_t kTokens = 2 * kHopperTokensPerBlock;
  return (num_tokens + kTokens - 1) / kTokens * kTokens;
}

// Whether this device and this program's machine code have the kernel.
bool HasHopperMultiply();

// args.tokens is what PrepareRows or, for weights in float8, PrepareFloat8Rows has made in RowOrder::kHopper. Slices
// follow each other, whatever the shape says, but in float8 with up to kMostTokensPerBlock tokens. What fails is kept for
// cudaGetLastError. REQUIRES: HasHopperMultiply().
template <WeightFormat kFormat>
void MultiplyOnHopper(const MultiplyArgs& args, MultiplyShape shape, CudaStream stream);

}  // namespace quire
