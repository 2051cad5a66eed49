// What happens to pages between Admit and reuse: Grow, Fork, Commit, Release, eviction.
#include <gmock/gmock.h>

#include "tests/block_manager/block_manager_fixture.h"

namespace quire {
namespace {

using testing::IsEmpty;

class BlockLifecycle : public BlockManagerFixture {
 protected:
  BlockLifecycle() : BlockManagerFixture({.num_blocks = 8, .block_size = 4}) {}

  // Holds two pages of eight tokens. The second is in the index behind a first page that is not the fork's own and that
  // nobody holds: another sequence had announced it, and only the fork's origin went on to exchange its page for that
  // one.
  Sequence& StartForkThatFallsBehind() {
    Sequence& announcer = Start(Range(0, 4));
    Sequence& origin = Start(Range(0, 8), {.reuse = false});
    Compute(origin);
    Sequence& fork = Fork(origin);
    Compute(announcer);
    Compute(origin);
    Release(announcer);
    Release(origin);
    return fork;
  }
};

// Growing.

TEST_F(BlockLifecycle, GrowAddsPagesAtTheEnd) {
  Sequence& sequence = Start(Range(0, 4));
  EXPECT_TRUE(Grow(sequence, 4, 9));
  EXPECT_EQ(sequence.table.blocks.size(), 3);
  EXPECT_TRUE(Grow(sequence, 9, 12));
  EXPECT_EQ(sequence.table.blocks.size(), 3) << "they fit the last page";
}

TEST_F(BlockLifecycle, GrowTakesAllItNeedsOrNothing) {
  Start(Range(100, 20));
  Sequence& sequence = Start(Range(0, 6));
  ASSERT_EQ(manager_.counts().free, 1);
  EXPECT_FALSE(Grow(sequence, 6, 13));
  EXPECT_EQ(sequence.table.blocks.size(), 2);
  EXPECT_EQ(manager_.counts().free, 1);
  EXPECT_TRUE(Grow(sequence, 6, 12));
}

TEST_F(BlockLifecycle, GrowCountsTheCopiesItNeeds) {
  Start(Range(100, 20));
  Sequence& sequence = Start(Range(0, 6));
  Compute(sequence);
  Sequence& fork = Fork(sequence);
  ASSERT_EQ(manager_.counts().free, 1);
  EXPECT_FALSE(Grow(fork, 6, 9)) << "one page to copy and one to add";
  EXPECT_EQ(fork.table.blocks, sequence.table.blocks);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
}

TEST_F(BlockLifecycle, WritesItsOwnAnnouncedPagesInPlace) {
  Sequence& sequence = Start(Range(0, 8));
  const std::vector<BlockId> blocks = sequence.table.blocks;
  EXPECT_TRUE(Grow(sequence, 0, 8));
  EXPECT_EQ(sequence.table.blocks, blocks);
}

TEST_F(BlockLifecycle, CopiesAComputedPageRatherThanWriteToIt) {
  Sequence& sequence = Start(Range(0, 8));
  Compute(sequence);
  const BlockId indexed = sequence.table.blocks[1];
  EXPECT_TRUE(Grow(sequence, 6, 8));
  EXPECT_NE(sequence.table.blocks[1], indexed);
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  EXPECT_EQ(manager_.pending_copies()[0].num_tokens, 2);
}

// Forking.

TEST_F(BlockLifecycle, AForkSharesAllPages) {
  Sequence& sequence = Start(Range(0, 10));
  Compute(sequence);
  Sequence& fork = Fork(sequence);
  EXPECT_EQ(fork.table.blocks, sequence.table.blocks);
  EXPECT_EQ(manager_.counts().used, 3);
  Release(sequence);
  EXPECT_EQ(manager_.counts().used, 3) << "the fork holds them";
  Release(fork);
  EXPECT_EQ(manager_.counts().used, 0);
}

TEST_F(BlockLifecycle, AllForksButTheLastCopyThePageTheyWriteTo) {
  Sequence& first = Start(Range(0, 6));
  Compute(first);
  Sequence& second = Fork(first);
  Sequence& third = Fork(first);
  const BlockId shared = first.table.blocks[1];
  EXPECT_TRUE(Grow(first, 6, 7));
  EXPECT_TRUE(Grow(second, 6, 7));
  EXPECT_TRUE(Grow(third, 6, 7));
  EXPECT_NE(first.table.blocks[1], shared);
  EXPECT_NE(second.table.blocks[1], shared);
  EXPECT_EQ(third.table.blocks[1], shared);
  ASSERT_EQ(manager_.pending_copies().size(), 2);
  for (const BlockCopy& copy : manager_.pending_copies()) {
    EXPECT_EQ(copy.source, shared);
    EXPECT_EQ(copy.num_tokens, 2);
  }
  EXPECT_EQ(first.table.blocks[0], third.table.blocks[0]);
}

TEST_F(BlockLifecycle, ASharedPageWithNothingComputedIsReplacedWithoutACopy) {
  Sequence& sequence = Start(Range(0, 8));
  Compute(sequence, 4);
  Sequence& fork = Fork(sequence);
  EXPECT_TRUE(Grow(fork, 4, 8));
  EXPECT_NE(fork.table.blocks[1], sequence.table.blocks[1]);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
}

TEST_F(BlockLifecycle, CopiesNeverFormChains) {
  Run(Range(0, 8));
  Sequence& sequence = Start(Join(Range(0, 6), Range(50, 3)));
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  const BlockId source = manager_.pending_copies()[0].source;
  Sequence& fork = Fork(sequence);
  EXPECT_TRUE(Grow(fork, 6, 9));
  ASSERT_EQ(manager_.pending_copies().size(), 2);
  EXPECT_EQ(manager_.pending_copies()[1].source, source);
  EXPECT_EQ(manager_.pending_copies()[1].destination, fork.table.blocks[1]);
}

TEST_F(BlockLifecycle, ForksCommitTheSamePagesOnce) {
  Sequence& sequence = Start(Range(0, 8), {.reuse = false});
  Sequence& fork = Fork(sequence);
  Compute(sequence);
  Compute(fork);
  EXPECT_EQ(fork.table.blocks, sequence.table.blocks);
  EXPECT_EQ(fork.table.num_indexed_blocks, 2);
}

TEST(ForksWithoutPrefixCaching, StillCopyOnWrite) {
  BlockManager manager({.num_blocks = 4, .block_size = 4, .enable_prefix_caching = false});
  const std::vector<TokenId> tokens = Range(0, 3);
  BlockTable table;
  manager.Admit(table, tokens, {});
  BlockTable fork = manager.Fork(table);
  EXPECT_TRUE(manager.Grow(fork, 2, 3));
  ASSERT_EQ(manager.pending_copies().size(), 1);
  manager.FinishCopies();
  EXPECT_NE(fork.blocks[0], table.blocks[0]);
  manager.CheckInvariants(std::vector<const BlockTable*>{&table, &fork});
}

// Committing what others compute too.

TEST_F(BlockLifecycle, TakesThePageOfTheIndexAndGivesItsOwnBack) {
  Sequence& first = Start(Range(0, 9));
  Sequence& second = Start(Range(0, 9), {.reuse = false});
  Compute(first);
  EXPECT_EQ(manager_.counts().used, 6);
  Compute(second);
  EXPECT_EQ(second.table.blocks[0], first.table.blocks[0]);
  EXPECT_EQ(second.table.blocks[1], first.table.blocks[1]);
  EXPECT_EQ(manager_.counts().used, 4);
}

TEST_F(BlockLifecycle, KeepsItsOwnPageUntilTheAnnouncedOneIsComputed) {
  Sequence& first = Start(Range(0, 9));
  Sequence& second = Start(Range(0, 9), {.reuse = false});
  Compute(second, 8);
  EXPECT_EQ(second.table.num_indexed_blocks, 0);
  EXPECT_EQ(Admit(Add(Range(0, 9))).outcome, AdmitOutcome::kWaitForPrefix);
  Compute(first);
  Compute(second);
  EXPECT_EQ(second.table.num_indexed_blocks, 2);
  EXPECT_EQ(second.table.blocks[1], first.table.blocks[1]);
}

TEST_F(BlockLifecycle, IndexesItsOwnPagesWhenTheAnnouncerGivesUp) {
  Sequence& first = Start(Range(0, 9));
  Sequence& second = Start(Range(0, 9), {.reuse = false});
  Compute(second, 8);
  Release(first, 0);
  EXPECT_EQ(CountCached(Range(0, 9)), 0);
  Compute(second);
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
}

TEST_F(BlockLifecycle, SharesPagesThatBecameEqualByGeneration) {
  Sequence& first = Start(Range(0, 5));
  Sequence& second = Start(Range(0, 5), {.reuse = false});
  for (Sequence* sequence : {&first, &second}) {
    Compute(*sequence);
    sequence->tokens = Range(0, 8);
    EXPECT_TRUE(Grow(*sequence, 5, 8));
    Compute(*sequence);
  }
  EXPECT_EQ(first.table.blocks, second.table.blocks);
}

// Releasing.

TEST_F(BlockLifecycle, KeepsWhatAFailedSequenceComputed) {
  Sequence& sequence = Start(Range(0, 12));
  Compute(sequence, 4);
  Release(sequence, 6);
  EXPECT_EQ(CountCached(Range(0, 12)), 6);
  EXPECT_EQ(manager_.counts().cached, 2);
  EXPECT_EQ(manager_.counts().free, 6);
}

TEST_F(BlockLifecycle, DoesNotKeepAPartlyFilledPageThatAnotherPageCovers) {
  Run(Range(0, 8));
  Run(Range(0, 6));
  EXPECT_EQ(manager_.counts().cached, 2);
}

TEST_F(BlockLifecycle, ALongerPartlyFilledPageReplacesAShorterOne) {
  Run(Range(0, 5));
  EXPECT_EQ(manager_.counts().cached, 2);
  Run(Range(0, 7));
  EXPECT_EQ(manager_.counts().cached, 2);
  EXPECT_EQ(CountCached(Range(0, 8)), 7);
}

TEST_F(BlockLifecycle, AFullPageReplacesThePartlyFilledOneThatItContinues) {
  Run(Range(0, 6));
  Sequence& next_turn = Start(Range(0, 9));
  Compute(next_turn);
  EXPECT_EQ(manager_.counts().cached, 0);
  EXPECT_EQ(manager_.counts().used, 3);
}

TEST_F(BlockLifecycle, APageFilledByGenerationReplacesThePartlyFilledOneToo) {
  Run(Range(0, 6));
  Sequence& sequence = Start(Range(0, 5), {.reuse = false});
  Compute(sequence);
  sequence.tokens = Range(0, 8);
  EXPECT_TRUE(Grow(sequence, 5, 8));
  Compute(sequence);
  EXPECT_EQ(manager_.counts().cached, 0);
}

TEST_F(BlockLifecycle, DoesNotIndexAPartlyFilledPageThatAForkGoesOnWriting) {
  Sequence& sequence = Start(Range(0, 6));
  Compute(sequence);
  Sequence& fork = Fork(sequence);
  Release(sequence);
  const BlockId shared = fork.table.blocks[1];
  EXPECT_TRUE(Grow(fork, 6, 7));
  EXPECT_EQ(fork.table.blocks[1], shared) << "no copy is needed";
}

TEST_F(BlockLifecycle, DoesNotKeepWhatOnlyAPendingCopyWouldHaveBrought) {
  Sequence& sequence = Start(Range(0, 6));
  Compute(sequence);
  Sequence& fork = Fork(sequence);
  EXPECT_TRUE(Grow(fork, 6, 7));
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  Release(fork, 6);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
  EXPECT_EQ(CountCached(Range(0, 8)), 4);
}

TEST_F(BlockLifecycle, KeepsWhatTheStepAddedToACopiedPage) {
  Run(Range(0, 8));
  Sequence& sequence = Start(Join(Range(0, 6), {50}));
  manager_.Commit(sequence.table, sequence.tokens, 7);
  Release(sequence, 7);
  manager_.FinishCopies();
  CheckInvariants();
  EXPECT_EQ(CountCached(Join(Range(0, 6), {50, 51})), 7);
}

// Evicting.

TEST_F(BlockLifecycle, TakesFreePagesBeforeCachedOnes) {
  Run(Range(0, 16));
  Start(Range(100, 16));
  EXPECT_EQ(CountCached(Range(0, 17)), 16);
  EXPECT_EQ(manager_.counts().free, 0);
}

TEST_F(BlockLifecycle, GivesTailsAwayBeforeHeads) {
  Run(Range(0, 16));
  Run(Range(100, 16));
  Start(Range(200, 8));
  EXPECT_EQ(CountCached(Range(0, 17)), 8) << "the first two of four pages are left";
  EXPECT_EQ(CountCached(Range(100, 17)), 16);
}

TEST_F(BlockLifecycle, GivesTheLeastRecentlyUsedAwayFirst) {
  Run(Range(0, 8));
  Run(Range(100, 8));
  Run(Range(0, 8));
  Start(Range(200, 24));
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
  EXPECT_EQ(CountCached(Range(100, 9)), 0);
}

TEST_F(BlockLifecycle, NeverGivesAwayAPageThatIsHeld) {
  Run(Range(0, 8));
  Sequence& sequence = Start(Range(0, 9));
  EXPECT_EQ(Admit(Add(Range(100, 24))).outcome, AdmitOutcome::kNoRoom);
  EXPECT_EQ(Admit(Add(Range(100, 20))).outcome, AdmitOutcome::kAdmitted);
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
  Release(sequence, 8);
}

TEST_F(BlockLifecycle, AHeldPageWhosePredecessorIsGivenAwayLeavesTheIndex) {
  Sequence& fork = StartForkThatFallsBehind();
  ASSERT_EQ(CountCached(Range(0, 9)), 8);
  ASSERT_EQ(manager_.counts().cached, 1);
  Start(Range(100, 24));
  EXPECT_EQ(CountCached(Range(0, 9)), 0);
  EXPECT_EQ(manager_.counts().used, 8) << "the fork's two pages are its own";
  Compute(fork);
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
}

TEST_F(BlockLifecycle, APageWhosePredecessorIsNotHeldIsNotCached) {
  Release(StartForkThatFallsBehind(), 0);
  EXPECT_EQ(CountCached(Range(0, 9)), 4);
  EXPECT_EQ(manager_.counts().free, 7);
}

TEST_F(BlockLifecycle, ClearingTheCacheForgetsEverythingForGood) {
  Run(Range(0, 8));
  Sequence& sequence = Start(Range(100, 12));
  Compute(sequence, 4);
  manager_.ClearCache();
  CheckInvariants();
  EXPECT_EQ(manager_.counts().free, 5);
  EXPECT_EQ(CountCached(Range(0, 9)), 0);
  EXPECT_EQ(CountCached(Range(100, 12)), 0);
  Compute(sequence);
  Release(sequence);
  EXPECT_EQ(CountCached(Range(100, 12)), 0) << "what ran while it was cleared does not come back";
  Run(Range(0, 8));
  EXPECT_EQ(CountCached(Range(0, 9)), 8) << "what starts afterwards is cached";
}

TEST_F(BlockLifecycle, InvariantsNoticeATableThatIsMissing) {
  Sequence& sequence = Start(Range(0, 4));
  EXPECT_DEATH(manager_.CheckInvariants({}), "check failed");
  Release(sequence, 0);
}

TEST_F(BlockLifecycle, InvariantsNoticeATableThatHoldsAForeignPage) {
  Sequence& sequence = Start(Range(0, 4));
  BlockTable forged = sequence.table;
  forged.blocks[0] = 7;
  EXPECT_DEATH(manager_.CheckInvariants(std::vector<const BlockTable*>{&forged}), "check failed");
}

}  // namespace
}  // namespace quire
