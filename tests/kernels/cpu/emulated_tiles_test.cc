// That the stand-in for AMX's tile registers does what the manual says of them.
#include "tests/emulation/emulated_tiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>

#include "kernels/bfloat16.h"

namespace quire {
namespace {

// Sums in 0, rows in 1, weights in 2.
TileConfig Shapes(int rows, int pairs) {
  TileConfig config;
  const int heights[] = {rows, rows, pairs}, widths[] = {64, 4 * pairs, 64};
  for (int tile = 0; tile < 3; ++tile) {
    config.rows[tile] = static_cast<uint8_t>(heights[tile]);
    config.row_bytes[tile] = static_cast<uint16_t>(widths[tile]);
  }
  return config;
}

struct Operands {
  uint16_t rows[16][32] = {};
  uint16_t weights[16][32] = {};
  float sums[16][16] = {};

  void MultiplyAdd() {
    EmulatedTiles::Load<0>(sums, 64);
    EmulatedTiles::Load<1>(rows, 64);
    EmulatedTiles::Load<2>(weights, 64);
    EmulatedTiles::MultiplyAdd<0, 1, 2>();
    EmulatedTiles::Store<0>(sums, 64);
  }
};

TEST(EmulatedTiles, MultiplyPairsOfFeaturesAndLeaveOtherRowsAlone) {
  constexpr unsigned kSeed = 5;
  RecordProperty("seed", static_cast<int>(kSeed));
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  for (const auto& [rows, pairs] : {std::pair{16, 16}, {1, 16}, {5, 16}, {16, 3}}) {
    Operands operands;
    for (auto& row : operands.rows) {
      for (uint16_t& word : row) word = ToBFloat16(normal(random));
    }
    for (auto& row : operands.weights) {
      for (uint16_t& word : row) word = ToBFloat16(normal(random));
    }
    for (auto& row : operands.sums) {
      for (float& sum : row) sum = 7;
    }
    EmulatedTiles::Configure(Shapes(rows, pairs));
    operands.MultiplyAdd();
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 16; ++column) {
        double expected = 7;
        for (int word = 0; row < rows && word < 2 * pairs; ++word) {
          expected += double{FromBFloat16(operands.rows[row][word])} *
                      FromBFloat16(operands.weights[word / 2][2 * column + word % 2]);
        }
        // 32 additions of float32, of numbers up to about 20.
        EXPECT_NEAR(operands.sums[row][column], expected, 1e-5) << "seed " << kSeed << ", row " << row;
      }
    }
  }
}

TEST(EmulatedTiles, AddEvenAndOddFeaturesApart) {
  Operands operands;
  // In one chain the large numbers would swallow the small one.
  const float values[] = {1e8f, 1, -1e8f, 1};
  for (int word = 0; word < 4; ++word) {
    operands.rows[0][word] = ToBFloat16(values[word]);
    operands.weights[word / 2][word % 2] = ToBFloat16(1);
  }
  EmulatedTiles::Configure(Shapes(1, 16));
  operands.MultiplyAdd();
  EXPECT_EQ(operands.sums[0][0], 2);
}

TEST(EmulatedTiles, TakeDenormalsForZeros) {
  Operands operands;
  operands.rows[0][0] = 1;  // The smallest denormal,
  operands.weights[0][0] = ToBFloat16(0x1p127f);
  operands.rows[0][1] = operands.weights[0][1] = ToBFloat16(0x1p-70f);  // a product that is one,
  operands.sums[0][0] = -0x1p-130f;                                     // and a sum.
  EmulatedTiles::Configure(Shapes(1, 16));
  operands.MultiplyAdd();
  EXPECT_EQ(operands.sums[0][0], 0);
}

TEST(EmulatedTiles, KeepNaNToItsRow) {
  Operands operands;
  operands.rows[1][31] = ToBFloat16(std::nanf(""));
  EmulatedTiles::Configure(Shapes(3, 16));
  operands.MultiplyAdd();
  for (int column = 0; column < 16; ++column) {
    EXPECT_EQ(operands.sums[0][column], 0);
    EXPECT_TRUE(std::isnan(operands.sums[1][column]));
    EXPECT_EQ(operands.sums[2][column], 0);
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
