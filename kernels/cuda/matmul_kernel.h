// The kernel behind MatMul: what it is told, and how its work is cut up.
//
// A block multiplies 8 panels of weights with up to 64 rows of activations ("tokens" here, since a weight matrix has
// rows as well), tile by tile along the features. Weights and activations are copied to shared memory a few tiles
// ahead, the first weights while the kernels in front of this one still run; each warp expands one panel (two, with
// more than 16 tokens) to bfloat16 in registers and multiplies it with all of the block's tokens.
//
// The features are cut into slices, as many as follow from the shape of the weights alone. The products of a slice are
// added up in one chain of matrix instructions, features ascending, and the slices' sums in ascending order, from 0. It
// makes no difference to a bit how many tokens a block has, nor which of two ways brings the slices together:
//   split   each slice is a block of its own; sums go to memory, and the block that is last of its tile adds them up
//   serial  one block goes through all slices and keeps the total in registers beside the sum
// The first has more blocks, for few tokens; the second needs no memory, for many.
//
// In float8 a slice is cut into chunks of two tiles, the last of one where their number is odd. A chunk's products are
// one chain, from 0, and the chunks' sums are added up in order, from 0, by ordinary additions: instructions that
// multiply such numbers keep fewer bits than a float32 has. Tokens are in float8, too, each with a scale of its own.
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/cuda/weight_format.h"
#include "kernels/ops.h"

namespace quire {

inline constexpr int kPanelsPerBlock = 8;  // Of a gated matrix: by turns 16 channels of the gate, and of up.
inline constexpr int kMostTokensPerBlock = 64;

struct MultiplyArgs {
  // The weights, and the channels that they give.
  const std::byte* panels = nullptr;
  int num_panels = 0;
  int num_tiles = 0;  // Of a panel.
  int num_channels = 0;
  bool gated = false;
  // The activations in bfloat16 or, beside weights in float8, in that, [num_tokens, num_tiles * kTileFeatures].
  const std::byte* tokens = nullptr;
  int num_tokens = 0;
  // float8 only: of tokens, and of the rows of panels.
  const float* token_scales = nullptr;
  const float* channel_scales = nullptr;
  // [gridDim.y * gridDim.x][slice][fragment][thread][4], and a counter for each of the first, 0 before and after; for
  // split work only.
  int num_slices = 1;
  float* partial_sums = nullptr;
  int* tickets = nullptr;
  // The epilogue. Bias and output begin at the segment's first channel; up_bias is that of the up-projection.
  Epilogue epilogue = Epilogue::kStore;
  Activation activation = Activation::kSilu;
  const float* bias = nullptr;
  const float* up_bias = nullptr;
  float* output = nullptr;
  int64_t output_stride = 0;
};

inline constexpr int kMostSlices = 8;

// How many slices the features of a matrix (of a segment of one) are cut into.
constexpr int SlicesOf(int64_t num_panels, int64_t num_tiles) {
  constexpr int64_t kBlocksWanted = 384, kFewestTiles = 2;
  const int64_t blocks = (num_panels + kPanelsPerBlock - 1) / kPanelsPerBlock;
  int64_t slices = (kBlocksWanted + blocks - 1) / blocks;
  if (slices > num_tiles / kFewestTiles) slices = num_tiles / kFewestTiles;
  if (slices > kMostSlices) slices = kMostSlices;
  return slices < 1 ? 1 : static_cast<int>(slices);
}

inline constexpr int kChunkTiles = 2;  // Of float8.

// The first tile of a slice, and the number of tiles for slice num_slices.
template <WeightFormat kFormat>
QUIRE_HOST_DEVICE constexpr int SliceBegin(int slice, int num_slices, int num_tiles) {
  if constexpr (!LayoutOf(kFormat).is_float8) return slice * num_tiles / num_slices;
  const int num_chunks = (num_tiles + kChunkTiles - 1) / kChunkTiles;
  const int begin = slice * num_chunks / num_slices * kChunkTiles;
  return begin < num_tiles ? begin : num_tiles;
}

// One of the kernel's variants: for how many tokens at once (8, 16, 32 or 64), and whether slices follow each other
// (64 tokens only).
struct MultiplyShape {
  int tokens_per_block = 0;
  bool serial = false;
};

// Launches the variant for a format, on ceil(panels / kPanelsPerBlock) x ceil(tokens / tokens_per_block) x (1, or
// split: num_slices) blocks. What fails is kept for cudaGetLastError.
template <WeightFormat kFormat>
void LaunchMultiply(const MultiplyArgs& args, MultiplyShape shape, CudaStream stream);

}  // namespace quire
