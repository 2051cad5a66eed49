#include "engine/tiers/fetch_cost.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

constexpr std::array<int, kNumKvTiers> kTenFromDisk = {0, 10};

TEST(FetchCost, WhatIsNotKnownIsTried) {
  FetchCost cost;
  EXPECT_TRUE(cost.Pays(kTenFromDisk, 320));
  cost.NoteFetch(KvTier::kDisk, 1, absl::Hours(1));
  EXPECT_TRUE(cost.Pays(kTenFromDisk, 320)) << "nothing was computed yet";
}

TEST(FetchCost, TheFasterWayIsTaken) {
  FetchCost cost;
  cost.NoteStep(100, absl::Milliseconds(100));  // 320 tokens: 320 ms.
  cost.NoteFetch(KvTier::kDisk, 10, absl::Milliseconds(310));
  EXPECT_TRUE(cost.Pays(kTenFromDisk, 320));
  for (int i = 0; i < 20; ++i) cost.NoteFetch(KvTier::kDisk, 10, absl::Milliseconds(700));
  EXPECT_FALSE(cost.Pays(kTenFromDisk, 320));
  EXPECT_TRUE(cost.Pays({10, 0}, 320)) << "the other tier";
}

TEST(FetchCost, ATierThatWasSlowOnceIsTriedAgain) {
  FetchCost cost;
  cost.NoteStep(100, absl::Milliseconds(100));
  cost.NoteFetch(KvTier::kDisk, 10, absl::Seconds(2));
  int num_declined = 0;
  while (!cost.Pays(kTenFromDisk, 320)) ++num_declined;
  EXPECT_GT(num_declined, 10);
  EXPECT_LT(num_declined, 100);
}

TEST(FetchCost, AStepOfFewTokensSaysNothingOfPrompts) {
  FetchCost cost;
  cost.NoteFetch(KvTier::kDisk, 10, absl::Seconds(2));
  cost.NoteStep(1, absl::Milliseconds(5));
  EXPECT_TRUE(cost.Pays(kTenFromDisk, 320));
}

TEST(FetchCost, AClockThatIsSetBackChangesNothing) {
  FetchCost cost;
  cost.NoteStep(100, absl::Milliseconds(100));
  cost.NoteFetch(KvTier::kDisk, 10, absl::Milliseconds(400));
  EXPECT_FALSE(cost.Pays(kTenFromDisk, 320));
  cost.NoteFetch(KvTier::kDisk, 10, -absl::Hours(1));
  EXPECT_FALSE(cost.Pays(kTenFromDisk, 320));
}

}  // namespace
}  // namespace quire
