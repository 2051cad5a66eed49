// Products of quantised weights in tiles of bfloat16 (AMX), and the layouts that they read.
//
// Weights are expanded, a panel at a time, from the packed layout to bfloat16: word [k / 2][channel][k % 2] is feature
// k of one of 16 channels, so that 32 features are one tile of 1 KiB.
//
// Activations are rounded to bfloat16: word [k / 32][row][k % 32], so that 32 features of 16 rows are one tile. They
// need neither residuals nor the rounding by groups that 8-bit products do: bfloat16 keeps a relative precision whatever
// the neighbours.
//
// Rounding is to nearest, ties to even; denormal numbers become zeros, which they count as in a tile, too.
//
// One instruction adds to 16 x 16 float32 sums the products of 32 features, and a sum goes through the whole depth in
// order. What is added to a row does not depend on the other rows of its tile or on how many there are, so that a
// result depends on its own row alone.
//
// Included by files that are compiled for one instruction set: nothing inline may be defined here, lest the linker keep
// its wide version for everyone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace quire {

// The rows of a tile of activations or sums, and the rows (of two features each) of a tile of weights.
inline constexpr int kTileHeight = 16;

// How many panels one call multiplies: two tiles of weights and two of activations make four products, the fewest loads
// for each that eight registers allow.
inline constexpr int kTilePanels = 2;

struct TileKernels {
  // By dtype; none for float formats. Fetches the panel's bytes at `next`, if any, meanwhile. `out` holds 16 * cols
  // words and begins at a multiple of 64 bytes.
  void (*expand[kNumDTypes])(const std::byte* panel, const std::byte* next, int64_t cols, uint16_t* out);
  // Rounds groups [begin, end) of 32 features of a row of the chunk.
  void (*round)(const float* input, int64_t begin, int64_t end, int row, const BFloat16Rows& out);
  // products[i] = the products of the chunk with the i-th of num_panels <= kTilePanels expanded panels. Nothing is
  // written beyond the chunk's rows.
  void (*multiply)(const uint16_t* panels, int num_panels, int64_t cols, const ActivationChunk& chunk,
                   PanelProducts* products);
  // To be called by each thread when it has called `multiply` for a while: gives the tile registers back, so that the
  // operating system need not save them.
  void (*release)();
};

// What LDTILECFG reads: the shapes of the tile registers.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // At most 64.
  uint8_t rows[16] = {};        // At most 16. A register that is not used has neither rows nor row_bytes.
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace quire
