#include "engine/sampling/logit_passes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace quire {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(LogitPasses, WeightIsTheExponential) {
  for (float x = 0; x > -87.0f; x -= 0.0137f) {
    const double expected = std::exp(static_cast<double>(x));
    ASSERT_NEAR(Weight(x, {0.0f, 1.0f}) / expected, 1.0, 3e-7) << x;
  }
  EXPECT_EQ(Weight(3.5f, {3.5f, 7.0f}), 1.0f);
  EXPECT_NEAR(Weight(1.0f, {3.0f, 0.5f}), std::exp(-1.0), 1e-7);
  for (float tiny : {-87.5f, -1000.0f, -std::numeric_limits<float>::max(), -kInfinity}) {
    EXPECT_EQ(Weight(tiny, {0.0f, 1.0f}), 0.0f) << tiny;
  }
}

TEST(LogitPasses, SeesANonFiniteLogitWhereverItIs) {
  for (size_t size : {1, 7, 255, 256, 257, 1000}) {
    std::vector<float> logits(size, -std::numeric_limits<float>::max());
    EXPECT_TRUE(AllFinite(logits));
    for (size_t at : {size_t{0}, size / 2, size - 1}) {
      for (float bad : {kNan, kInfinity, -kInfinity}) {
        std::vector<float> poisoned = logits;
        poisoned[at] = bad;
        EXPECT_FALSE(AllFinite(poisoned)) << size << " " << at << " " << bad;
      }
    }
  }
}

TEST(LogitPasses, FindsTheFirstMaximumAndEachBlocks) {
  std::vector<float> block_maxima;
  for (size_t size : {1, 7, 255, 256, 257, 600}) {
    for (size_t at = 0; at < size; at += 37) {
      std::vector<float> logits(size, -5.0f);
      logits[at] = 2.0f;
      logits[size - 1] = 2.0f;
      const RowMaximum maximum = FindMaximum(logits, block_maxima);
      EXPECT_EQ(maximum.value, 2.0f);
      EXPECT_EQ(maximum.index, static_cast<int>(at)) << size;
      ASSERT_EQ(block_maxima.size(), (size + kLogitBlock - 1) / kLogitBlock);
      for (size_t block = 0; block < block_maxima.size(); ++block) {
        const bool holds = block == at / kLogitBlock || block == block_maxima.size() - 1;
        EXPECT_EQ(block_maxima[block], holds ? 2.0f : -5.0f);
      }
    }
  }
}

TEST(LogitPasses, SumsEveryWeightOnce) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  for (size_t size : {3, 7, 255, 256, 258, 49152}) {
    SCOPED_TRACE(size);
    std::vector<float> logits(size);
    for (float& logit : logits) logit = normal(random);
    logits[size / 2] = -kInfinity;  // A forbidden token.
    const SoftmaxScale scale = {*std::max_element(logits.begin(), logits.end()), 0.7f};
    std::vector<double> block_sums;
    std::vector<double> expected((size + kLogitBlock - 1) / kLogitBlock);
    double total = 0;
    for (size_t i = 0; i < size; ++i) {
      const double weight = std::exp((static_cast<double>(logits[i]) - scale.maximum) * 0.7f);
      expected[i / kLogitBlock] += weight;
      total += weight;
    }
    EXPECT_NEAR(SumWeights(logits, scale, block_sums) / total, 1.0, 1e-6);
    ASSERT_EQ(block_sums.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(block_sums[i] / expected[i], 1.0, 2e-6);
  }
}

}  // namespace
}  // namespace quire
