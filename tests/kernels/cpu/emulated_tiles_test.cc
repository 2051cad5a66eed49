// That the stand-in for AMX's tile registers does what the manual says of them.
#include "tests/emulation/emulated_tiles.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>

namespace quire {
namespace {

// Sums in 0, rows in 1, weights in 2.
TileConfig Shapes(int rows, int quads) {
  TileConfig config;
  const int heights[] = {rows, rows, quads}, widths[] = {64, 4 * quads, 64};
  for (int tile = 0; tile < 3; ++tile) {
    config.rows[tile] = static_cast<uint8_t>(heights[tile]);
    config.row_bytes[tile] = static_cast<uint16_t>(widths[tile]);
  }
  return config;
}

TEST(EmulatedTiles, MultiplyQuadsOfFeaturesAndLeaveOtherRowsAlone) {
  constexpr unsigned kSeed = 5;
  RecordProperty("seed", static_cast<int>(kSeed));
  std::mt19937 random(kSeed);
  std::uniform_int_distribution<int> byte(0, 255);
  for (const auto& [rows, quads] : {std::pair{16, 16}, {1, 16}, {5, 8}, {16, 3}}) {
    int8_t activations[16][64];
    uint8_t weights[16][16][4];  // [quad][channel][i]
    int32_t sums[16][16];
    for (auto& row : activations) {
      for (int8_t& value : row) value = static_cast<int8_t>(byte(random));
    }
    for (auto& quad : weights) {
      for (auto& channel : quad) {
        for (uint8_t& value : channel) value = static_cast<uint8_t>(byte(random));
      }
    }
    for (auto& row : sums) {
      for (int32_t& sum : row) sum = 7;
    }
    EmulatedTiles::Configure(Shapes(rows, quads));
    EmulatedTiles::Load<0>(sums, 64);
    EmulatedTiles::Load<1>(activations, 64);
    EmulatedTiles::Load<2>(weights, 64);
    EmulatedTiles::MultiplyAdd<0, 1, 2>();
    EmulatedTiles::Store<0>(sums, 64);
    for (int row = 0; row < 16; ++row) {
      for (int channel = 0; channel < 16; ++channel) {
        int32_t expected = 7;
        for (int feature = 0; row < rows && feature < 4 * quads; ++feature) {
          expected += activations[row][feature] * weights[feature / 4][channel][feature % 4];
        }
        EXPECT_EQ(sums[row][channel], expected) << "seed " << kSeed << ", row " << row;
      }
    }
  }
}

TEST(EmulatedTilesDeathTest, DieWhereAProcessorWouldFault) {
  EXPECT_DEATH(EmulatedTiles::Zero<0>(), "check failed");  // Not configured.
  TileConfig tall = Shapes(16, 16);
  tall.rows[1] = 17;
  EXPECT_DEATH(EmulatedTiles::Configure(tall), "check failed");
  TileConfig odd = Shapes(16, 16);
  odd.row_bytes[3] = 64;
  EXPECT_DEATH(EmulatedTiles::Configure(odd), "check failed");
  TileConfig mismatched = Shapes(16, 16);
  mismatched.rows[1] = 8;
  EmulatedTiles::Configure(mismatched);
  EXPECT_DEATH((EmulatedTiles::MultiplyAdd<0, 1, 2>()), "check failed");
  EmulatedTiles::Release();
  EXPECT_DEATH(EmulatedTiles::Zero<0>(), "check failed");
}

}  // namespace
}  // namespace quire
