#include "server/embedding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

TEST(Normalize, MakesAnEmbeddingOfLengthOne) {
  std::vector<float> embedding = {3, 0, -4};
  Normalize(embedding);
  EXPECT_THAT(embedding, ElementsAre(FloatEq(0.6f), 0, FloatEq(-0.8f)));
  std::vector<float> tiny = {1e-30f, 1e-30f};
  Normalize(tiny);
  EXPECT_THAT(tiny, ElementsAre(FloatEq(0.70710678f), FloatEq(0.70710678f)));
}

TEST(Normalize, LeavesZerosAlone) {
  std::vector<float> zeros = {0, 0};
  Normalize(zeros);
  EXPECT_THAT(zeros, ElementsAre(0, 0));
}

}  // namespace
}  // namespace quire
