// Tables that give up pages in their middle.
#include <gmock/gmock.h>

#include "tests/block_manager/block_manager_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

class Slide : public BlockManagerFixture {
 protected:
  Slide() : BlockManagerFixture({.num_blocks = 4, .block_size = 4}) {}

  bool SlideOn(Sequence& sequence, int num_kept, int num_dropped) {
    const bool slid = manager_.Slide(sequence.table, num_kept, num_dropped);
    CheckInvariants();
    return slid;
  }
};

TEST_F(Slide, MovesUpWhatFollowsTheDroppedPages) {
  Sequence& sequence = Start(Range(0, 16));
  Compute(sequence);
  const std::vector<BlockId> before = sequence.table.blocks;
  EXPECT_TRUE(SlideOn(sequence, 0, 2));
  EXPECT_THAT(sequence.table.blocks, ElementsAre(before[2], before[3]));
  EXPECT_EQ(manager_.counts().used, 2);
}

TEST_F(Slide, LeavesWhatItDroppedToOthersAsLongAsThereIsRoom) {
  Sequence& sequence = Start(Range(0, 16));
  Compute(sequence);
  EXPECT_TRUE(SlideOn(sequence, 0, 2));
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
}

TEST_F(Slide, TakesAPageOfItsOwnForASinkThatTheIndexHas) {
  Sequence& sequence = Start(Range(0, 16));
  Compute(sequence);
  const BlockId sink = sequence.table.blocks[0];
  EXPECT_TRUE(SlideOn(sequence, 1, 1));
  EXPECT_NE(sequence.table.blocks[0], sink);
  EXPECT_EQ(CountCached(Range(0, 5)), 4);
}

TEST_F(Slide, MakesDoWithTheOnePageThatItDrops) {
  Sequence& sequence = Start(Range(0, 16));
  Compute(sequence);
  EXPECT_TRUE(SlideOn(sequence, 3, 1));
  EXPECT_EQ(manager_.counts().used, 3);
}

TEST_F(Slide, ChangesNothingWhereAnotherTableHoldsTheSinksAndPagesRunOut) {
  Sequence& sequence = Start(Range(0, 16));
  Compute(sequence);
  Sequence& other = Fork(sequence);
  const std::vector<BlockId> before = sequence.table.blocks;
  EXPECT_FALSE(SlideOn(sequence, 1, 1));
  EXPECT_EQ(sequence.table.blocks, before);
  Release(other);
  EXPECT_TRUE(SlideOn(sequence, 1, 1));
}

TEST_F(Slide, PutsNothingIntoTheIndexAnyMore) {
  Sequence& sequence = Start(Range(0, 12));
  Compute(sequence);
  EXPECT_TRUE(SlideOn(sequence, 1, 2));
  EXPECT_TRUE(Grow(sequence, 4, 8));
  manager_.ClearCache();
  Release(sequence, 4);
  EXPECT_EQ(manager_.counts().cached, 0);
  EXPECT_EQ(manager_.counts().free, 4);
}

}  // namespace
}  // namespace quire
