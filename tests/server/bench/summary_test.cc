#include "server/bench/summary.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(Summary, OfNothingIsZero) { EXPECT_EQ(Summarize({}).p99, 0); }

TEST(Summary, OfOneValueIsThatValue) {
  const Summary summary = Summarize({5});
  EXPECT_EQ(summary.mean, 5);
  EXPECT_EQ(summary.median, 5);
  EXPECT_EQ(summary.p99, 5);
  EXPECT_EQ(summary.std, 0);
}

TEST(Summary, InterpolatesPercentilesOfUnsortedValues) {
  const Summary summary = Summarize({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(summary.mean, 2.5);
  EXPECT_DOUBLE_EQ(summary.median, 2.5);
  EXPECT_DOUBLE_EQ(summary.p90, 3.7);
  EXPECT_DOUBLE_EQ(summary.std, 1.118033988749895);
}

}  // namespace
}  // namespace quire
