#include "server/bench/load/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "server/bench/summary.h"

namespace quire {
namespace {

using ::testing::Each;

constexpr int kMany = 20000;

std::vector<double> Intervals(const std::vector<double>& times) {
  std::vector<double> intervals = {times.front()};
  for (size_t i = 1; i < times.size(); ++i) intervals.push_back(times[i] - times[i - 1]);
  return intervals;
}

// Standard deviation over mean: 1 for a Poisson process, 1 / sqrt(burstiness) for gamma-distributed intervals.
double Variation(const std::vector<double>& times) {
  const Summary summary = Summarize(Intervals(times));
  return summary.std / summary.mean;
}

TEST(Arrivals, ComeAllAtOnceWithoutARate) { EXPECT_THAT(DrawArrivals({}, 5), Each(0.0)); }

TEST(Arrivals, OfAPoissonProcessHaveItsRateAndItsVariation) {
  const std::vector<double> times = DrawArrivals({.rate = 50}, kMany);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  EXPECT_NEAR(kMany / times.back(), 50, 1.5);
  EXPECT_NEAR(Variation(times), 1, 0.05);
}

TEST(Arrivals, AreBurstyBelowAndEvenAboveABurstinessOfOne) {
  for (const double burstiness : {0.25, 4.0, 100.0}) {
    const std::vector<double> times = DrawArrivals({.rate = 50, .burstiness = burstiness}, kMany);
    EXPECT_NEAR(kMany / times.back(), 50, 2.5) << burstiness;
    EXPECT_NEAR(Variation(times) * std::sqrt(burstiness), 1, 0.08) << burstiness;
  }
}

TEST(Arrivals, OfARampBeginAtOneRateAndEndAtTheOther) {
  for (const auto ramp : {ArrivalOptions::Ramp::kLinear, ArrivalOptions::Ramp::kExponential}) {
    const std::vector<double> times =
        DrawArrivals({.rate = 100, .burstiness = 100, .ramp = ramp, .start_rate = 10}, kMany);
    const int few = kMany / 50;
    EXPECT_NEAR(few / times[few - 1], 10, 1.5);
    EXPECT_NEAR(few / (times.back() - times[kMany - 1 - few]), 100, 10);
  }
}

TEST(Arrivals, FollowFromTheSeedAlone) {
  const ArrivalOptions options{.rate = 5, .burstiness = 0.5, .seed = 7};
  EXPECT_EQ(DrawArrivals(options, 100), DrawArrivals(options, 100));
  ArrivalOptions other = options;
  other.seed = 8;
  EXPECT_NE(DrawArrivals(options, 100), DrawArrivals(other, 100));
}

}  // namespace
}  // namespace quire
