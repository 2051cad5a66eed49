#include "engine/sampling/counter_rng.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace quire {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers that the paper's authors publish with their library (Random123, kat_vectors, philox4x32 10).
TEST(CounterRng, GivesThePublishedAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRng, DependsOnEveryBitOfSeedAndPosition) {
  std::set<double> draws = {UniformAt(0, 0)};
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_TRUE(draws.insert(UniformAt(uint64_t{1} << bit, 0)).second) << "seed bit " << bit;
    EXPECT_TRUE(draws.insert(UniformAt(0, uint64_t{1} << bit)).second) << "position bit " << bit;
  }
}

TEST(CounterRng, IsUniformOverPositionsAndOverSeeds) {
  constexpr int kBins = 64;
  constexpr int kDraws = 64000;
  for (bool over_seeds : {false, true}) {
    SCOPED_TRACE(over_seeds ? "seeds 0.." : "positions 0..");
    std::vector<int> counts(kBins);
    for (int i = 0; i < kDraws; ++i) {
      const double draw = over_seeds ? UniformAt(i, 17) : UniformAt(17, i);
      ASSERT_GT(draw, 0.0);
      ASSERT_LT(draw, 1.0);
      ++counts[static_cast<int>(draw * kBins)];
    }
    const double expected = static_cast<double>(kDraws) / kBins;
    double chi_square = 0;
    for (int count : counts) chi_square += (count - expected) * (count - expected) / expected;
    EXPECT_LT(chi_square, 120.0);  // 63 degrees of freedom: passed by chance with probability 1 - 2e-5.
    EXPECT_GT(chi_square, 25.0);   // Nor evener than chance allows.
  }
}

}  // namespace
}  // namespace quire
