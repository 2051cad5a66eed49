// The tile registers of AMX in plain C++, with the meaning that the manual gives to LDTILECFG, TILEZERO, TILELOADD,
// TILESTORED, TDPBF16PS and TILERELEASE. What would be an invalid-opcode or a general-protection fault is a failed
// check. Each thread has registers of its own, as on a processor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/tile_kernels.h"

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

  // For each row of `rows` and column of `weights`: products of even and of odd words are summed apart, by fused
  // multiply-adds in ascending order from zero; the two sums are added, and what they make is added to the register.
  template <int kSums, int kRows, int kWeights>
  static void MultiplyAdd() {
    Tile& sums = Get(kSums);
    const Tile& rows = Get(kRows);
    const Tile& weights = Get(kWeights);
    QUIRE_CHECK(kSums != kRows && kSums != kWeights && kRows != kWeights);
    QUIRE_CHECK(sums.rows == rows.rows && sums.row_bytes == weights.row_bytes && rows.row_bytes == 4 * weights.rows);
    QUIRE_CHECK(sums.row_bytes % 4 == 0);
    float weight_values[2][16][16];
    for (int pair = 0; pair < weights.rows; ++pair) DecodePairs(weights.bytes[pair], weight_values, pair);
    Tile result = {.rows = sums.rows, .row_bytes = sums.row_bytes};
    for (int row = 0; row < rows.rows; ++row) {
      alignas(64) float parts[2][16] = {};
      for (int pair = 0; pair < weights.rows; ++pair) {
        for (int i = 0; i < 2; ++i) {
          const float value = Decode(rows.bytes[row] + 4 * pair + 2 * i);
          for (int column = 0; column < 16; ++column) {
            parts[i][column] = Flush(__builtin_fmaf(value, weight_values[i][pair][column], parts[i][column]));
          }
        }
      }
      AddParts(parts, sums.bytes[row], sums.row_bytes / 4, result.bytes[row]);
    }
    sums = result;
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

  // Denormals count as zeros, as operands and as results.
  static float Flush(float x) { return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0, x) : x; }

  static float Decode(const std::byte* word) {
    uint16_t half;
    std::memcpy(&half, word, sizeof(half));
    const uint32_t bits = uint32_t{half} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return Flush(value);
  }

  static void DecodePairs(const std::byte* row, float (*out)[16][16], int pair) {
    for (int column = 0; column < 16; ++column) {
      for (int i = 0; i < 2; ++i) out[i][pair][column] = Decode(row + 4 * column + 2 * i);
    }
  }

  static void AddParts(const float (*parts)[16], const std::byte* sums, int columns, std::byte* out) {
    float values[16];
    std::memcpy(values, sums, columns * sizeof(float));
    for (int column = 0; column < columns; ++column) {
      values[column] = Flush(Flush(values[column]) + Flush(parts[0][column] + parts[1][column]));
    }
    std::memcpy(out, values, columns * sizeof(float));
  }

  static thread_local State state_;
};

thread_local EmulatedTiles::State EmulatedTiles::state_;

}  // namespace
}  // namespace quire
