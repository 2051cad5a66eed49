#include "block_manager/tiers/tier_index.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

PageKey Key(uint64_t i) { return {i, i * 31}; }

TEST(TierIndex, GivesUpWhatWasUsedLeastRecently) {
  TierIndex index(3);
  for (uint64_t i = 1; i <= 3; ++i) index.Keep(index.Take(), Key(i));
  index.Keep(index.Hold(Key(1)), Key(1));
  const SlotId slot = index.Take();
  EXPECT_FALSE(index.Contains(Key(2)));
  EXPECT_TRUE(index.Contains(Key(1)));
  EXPECT_EQ(index.num_evicted(), 1u);
  index.Abandon(slot);
  EXPECT_EQ(index.Take(), slot);
  index.CheckInvariants();
}

TEST(TierIndex, DropsAPageOnlyFromTheSlotThatHasIt) {
  TierIndex index(2);
  const SlotId slot = index.Take();
  index.Keep(slot, Key(1));
  index.Drop(slot, Key(2));
  index.Drop(1 - slot, Key(1));
  EXPECT_TRUE(index.Contains(Key(1)));
  index.Hold(Key(1));
  index.Drop(slot, Key(1));
  EXPECT_FALSE(index.Contains(Key(1)));
  index.CheckInvariants();
  index.Abandon(slot);
  EXPECT_NE(index.Take(), kNoBlock);
  EXPECT_NE(index.Take(), kNoBlock) << "the slot was given back once";
  EXPECT_EQ(index.num_evicted(), 0u);
}

TEST(TierIndex, NeverGivesUpASlotThatIsBusy) {
  TierIndex index(2);
  index.Keep(index.Take(), Key(1));
  index.Hold(Key(1));
  const SlotId writing = index.Take();
  EXPECT_NE(writing, kNoBlock);
  EXPECT_EQ(index.Take(), kNoBlock);
  index.Keep(writing, Key(2));
  EXPECT_EQ(index.Take(), writing);
  EXPECT_TRUE(index.Contains(Key(1)));
  index.CheckInvariants();
}

TEST(TierIndex, KeepsOneOfTwoWritesOfAPage) {
  TierIndex index(2);
  const SlotId first = index.Take(), second = index.Take();
  index.Keep(second, Key(1));
  index.Keep(first, Key(1));
  EXPECT_EQ(index.num_pages(), 1);
  EXPECT_EQ(index.Take(), first);
  index.CheckInvariants();
}

TEST(TierIndex, AdoptsTheNewerOfTwoSlotsWithOnePage) {
  TierIndex index(2);
  index.Adopt(1, Key(1));
  index.Adopt(0, Key(1));
  EXPECT_EQ(index.num_pages(), 1);
  EXPECT_EQ(index.Hold(Key(1)), 0);
  EXPECT_EQ(index.Take(), 1);
  index.CheckInvariants();
}

TEST(TierIndex, FreesBusySlotsOfAClearedIndexOnceTheyAreGivenBack) {
  TierIndex index(2);
  index.Keep(index.Take(), Key(1));
  index.Keep(index.Take(), Key(2));
  const SlotId reading = index.Hold(Key(1));
  index.Clear();
  EXPECT_EQ(index.num_pages(), 0);
  EXPECT_NE(index.Take(), reading);
  EXPECT_EQ(index.Take(), kNoBlock);
  index.Abandon(reading);
  EXPECT_EQ(index.Take(), reading);
  index.CheckInvariants();
}

}  // namespace
}  // namespace quire
