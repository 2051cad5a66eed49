// The tile registers of AMX in plain C++, with the meaning that the manual gives to LDTILECFG, TILEZERO, TILELOADD,
// TILESTORED, TDPBSUD and TILERELEASE. What would be an invalid-opcode or a general-protection fault is a failed
// check. Each thread has registers of its own, as on a processor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/tile_config.h"

namespace quire {
namespace {

struct EmulatedTiles {
  static void Configure(const TileConfig& config) {
    QUIRE_CHECK(config.palette == 1 && config.start_row == 0);
    for (uint8_t byte : config.reserved) QUIRE_CHECK(byte == 0);
    for (int tile = 0; tile < 16; ++tile) {
      const int rows = config.rows[tile], row_bytes = config.row_bytes[tile];
      QUIRE_CHECK(rows <= 16 && row_bytes <= 64);
      QUIRE_CHECK((rows == 0) == (row_bytes == 0));
      QUIRE_CHECK(tile < kNumTiles || rows == 0);
    }
    state_ = State();
    for (int tile = 0; tile < kNumTiles; ++tile) {
      state_.tiles[tile].rows = config.rows[tile];
      state_.tiles[tile].row_bytes = config.row_bytes[tile];
    }
  }

  static void Release() { state_ = State(); }

  template <int kTile>
  static void Zero() {
    std::memset(Get(kTile).bytes, 0, sizeof(Tile::bytes));
  }

  template <int kTile>
  static void Load(const void* from, int64_t stride) {
    Zero<kTile>();  // Beyond its shape a register holds zeros.
    Tile& tile = Get(kTile);
    for (int row = 0; row < tile.rows; ++row) {
      std::memcpy(tile.bytes[row], static_cast<const std::byte*>(from) + row * stride, tile.row_bytes);
    }
  }

  template <int kTile>
  static void Store(void* to, int64_t stride) {
    const Tile& tile = Get(kTile);
    for (int row = 0; row < tile.rows; ++row) {
      std::memcpy(static_cast<std::byte*>(to) + row * stride, tile.bytes[row], tile.row_bytes);
    }
  }

  // For each row of `rows`, whose bytes are signed, and column of `weights`, whose bytes are not: adds the products of
  // each four neighbouring bytes to the column's 32-bit sum.
  template <int kSums, int kRows, int kWeights>
  static void MultiplyAdd() {
    Tile& sums = Get(kSums);
    const Tile& rows = Get(kRows);
    const Tile& weights = Get(kWeights);
    QUIRE_CHECK(kSums != kRows && kSums != kWeights && kRows != kWeights);
    QUIRE_CHECK(sums.rows == rows.rows && sums.row_bytes == weights.row_bytes && rows.row_bytes == 4 * weights.rows);
    QUIRE_CHECK(sums.row_bytes % 4 == 0);
    for (int row = 0; row < rows.rows; ++row) {
      int32_t totals[16];
      std::memcpy(totals, sums.bytes[row], sizeof(totals));
      for (int byte = 0; byte < rows.row_bytes; ++byte) {
        const auto value = static_cast<int8_t>(rows.bytes[row][byte]);
        const std::byte* quad = weights.bytes[byte / 4] + byte % 4;
        for (int column = 0; column < sums.row_bytes / 4; ++column) {
          totals[column] += value * static_cast<uint8_t>(quad[4 * column]);
        }
      }
      std::memcpy(sums.bytes[row], totals, sums.row_bytes);
    }
  }

 private:
  static constexpr int kNumTiles = 8;

  struct Tile {
    int rows = 0;
    int row_bytes = 0;
    std::byte bytes[16][64] = {};
  };
  struct State {
    Tile tiles[kNumTiles];
  };

  static Tile& Get(int index) {
    Tile& tile = state_.tiles[index];
    QUIRE_CHECK(tile.rows > 0);
    return tile;
  }

  static thread_local State state_;
};

thread_local EmulatedTiles::State EmulatedTiles::state_;

}  // namespace
}  // namespace quire
