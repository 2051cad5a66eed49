// What Admit finds: full pages by reference, part of a page by copy, pages in flight by waiting.
#include <gmock/gmock.h>

#include "tests/block_manager/block_manager_fixture.h"

namespace quire {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PrefixSharing : public BlockManagerFixture {
 protected:
  PrefixSharing() : BlockManagerFixture({.num_blocks = 8, .block_size = 4}) {}
};

TEST_F(PrefixSharing, TakesFullPagesOfAnEqualPrefixByReference) {
  Sequence& first = Start(Range(0, 10));
  Compute(first);
  Sequence& second = Add(Join(Range(0, 8), Range(50, 4)));
  EXPECT_EQ(Admit(second).num_cached_tokens, 8);
  EXPECT_EQ(second.table.blocks[0], first.table.blocks[0]);
  EXPECT_EQ(second.table.blocks[1], first.table.blocks[1]);
  EXPECT_NE(second.table.blocks[2], first.table.blocks[2]);
  EXPECT_EQ(manager_.counts().used, 4);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
}

TEST_F(PrefixSharing, FindsPagesOfASequenceThatHasEnded) {
  Run(Range(0, 9));
  EXPECT_EQ(manager_.counts().used, 0);
  EXPECT_EQ(manager_.counts().cached, 3);
  Sequence& second = Add(Join(Range(0, 8), {50}));
  EXPECT_EQ(Admit(second).num_cached_tokens, 8);
}

TEST_F(PrefixSharing, DoesNotFindEqualTokensBehindAnotherPrefix) {
  Run(Range(0, 8));
  EXPECT_EQ(CountCached(Join(Range(50, 4), Range(4, 5))), 0);
}

TEST_F(PrefixSharing, LeavesOneTokenToComputeOfAPromptThatIsCachedWhole) {
  Sequence& first = Start(Range(0, 8));
  Compute(first);
  Sequence& second = Add(Range(0, 8));
  EXPECT_EQ(Admit(second).num_cached_tokens, 7);
  EXPECT_EQ(second.table.blocks[0], first.table.blocks[0]);
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  EXPECT_EQ(manager_.pending_copies()[0].source, first.table.blocks[1]);
  EXPECT_EQ(manager_.pending_copies()[0].destination, second.table.blocks[1]);
  EXPECT_EQ(manager_.pending_copies()[0].num_tokens, 3);
}

TEST_F(PrefixSharing, CopiesTheSharedBeginningOfAPage) {
  Sequence& first = Start(Range(0, 8));
  Compute(first);
  Sequence& second = Add(Join(Range(0, 6), Range(50, 3)));
  EXPECT_EQ(Admit(second).num_cached_tokens, 6);
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  EXPECT_EQ(manager_.pending_copies()[0].source, first.table.blocks[1]);
  EXPECT_EQ(manager_.pending_copies()[0].destination, second.table.blocks[1]);
  EXPECT_EQ(manager_.pending_copies()[0].num_tokens, 2);
}

TEST_F(PrefixSharing, CopiesFromThePageThatSharesMost) {
  Run(Join(Range(0, 3), {50}));
  Run(Join(Range(0, 2), {51, 52}));
  Run(Join(Range(0, 1), {53, 54, 55}));
  EXPECT_EQ(CountCached(Range(0, 6)), 3);
}

TEST_F(PrefixSharing, ContinuesAChatFromThePartlyFilledLastPage) {
  Run(Range(0, 7));
  Sequence& next_turn = Add(Range(0, 12));
  EXPECT_EQ(Admit(next_turn).num_cached_tokens, 7);
  EXPECT_EQ(manager_.pending_copies().size(), 1);
}

TEST_F(PrefixSharing, NeverCopiesTheTokenThatIsToBeComputed) {
  Run(Range(0, 7));
  EXPECT_EQ(CountCached(Range(0, 6)), 5);
  EXPECT_EQ(CountCached(Range(0, 5)), 4);
  EXPECT_EQ(CountCached(Range(0, 1)), 0);
}

TEST_F(PrefixSharing, HoldsTheSourceOfACopyUntilCopiesAreFinished) {
  Run(Range(0, 4));
  Sequence& second = Start(Join(Range(0, 3), Range(50, 3)));
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  EXPECT_EQ(manager_.counts().used, 3) << "two pages and the source";
  // Six pages are left; the source is not one that could be evicted for a seventh.
  Sequence& third = Add(Range(100, 24));
  EXPECT_EQ(Admit(third).outcome, AdmitOutcome::kNoRoom);
  manager_.FinishCopies();
  EXPECT_EQ(manager_.counts().used, 2);
  EXPECT_EQ(Admit(third).outcome, AdmitOutcome::kAdmitted);
  Release(second, 0);
}

TEST_F(PrefixSharing, WithdrawsACopyIntoAPageThatNobodyHoldsAnyMore) {
  Run(Range(0, 8));
  Sequence& second = Start(Join(Range(0, 7), Range(50, 3)));
  ASSERT_EQ(manager_.pending_copies().size(), 1);
  Release(second, 7);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
  EXPECT_EQ(manager_.counts().used, 0);
  EXPECT_EQ(CountCached(Range(0, 12)), 8) << "the source is cached as before";
}

TEST_F(PrefixSharing, AdmitsIntoAPoolFullOfCachedPagesWhatFitsAnEmptyOne) {
  Run(Range(0, 32));
  ASSERT_EQ(manager_.counts().cached, 8);
  // Seven tokens of its first two pages are cached, but the source of the copy would be a ninth page.
  Sequence& sequence = Add(Join(Range(0, 7), Range(100, 25)));
  const Admission admission = Admit(sequence);
  EXPECT_EQ(admission.outcome, AdmitOutcome::kAdmitted);
  EXPECT_EQ(admission.num_cached_tokens, 4);
  EXPECT_THAT(manager_.pending_copies(), IsEmpty());
}

TEST_F(PrefixSharing, WaitsForAPrefixThatAnotherSequenceIsComputing) {
  Sequence& first = Start(Range(0, 10));
  Sequence& second = Add(Range(0, 9));
  EXPECT_EQ(Admit(second).outcome, AdmitOutcome::kWaitForPrefix);
  EXPECT_TRUE(second.table.blocks.empty());
  Compute(first, 4);
  EXPECT_EQ(Admit(second).outcome, AdmitOutcome::kWaitForPrefix) << "the second page is missing still";
  Compute(first, 8);
  EXPECT_EQ(Admit(second).num_cached_tokens, 8);
}

TEST_F(PrefixSharing, WaitsForAPageEvenIfItsLastTokenIsToBeComputed) {
  Sequence& first = Start(Range(0, 8));
  Sequence& second = Add(Range(0, 8));
  EXPECT_EQ(Admit(second).outcome, AdmitOutcome::kWaitForPrefix);
  Compute(first);
  EXPECT_EQ(Admit(second).num_cached_tokens, 7);
}

TEST_F(PrefixSharing, StopsWaitingWhenTheComputingSequenceEnds) {
  Sequence& first = Start(Range(0, 10));
  Compute(first, 4);
  Release(first, 4);
  Sequence& second = Add(Range(0, 10));
  EXPECT_EQ(Admit(second).num_cached_tokens, 4);
}

TEST_F(PrefixSharing, DoesNotWaitForTokensThatOnlyBeginAlike) {
  Start(Range(0, 10));
  EXPECT_EQ(Admit(Add(Join(Range(0, 3), Range(50, 7)))).outcome, AdmitOutcome::kAdmitted);
}

TEST_F(PrefixSharing, KeepsSaltsApart) {
  Run(Range(0, 10), {.salt = 1});
  EXPECT_EQ(CountCached(Range(0, 10), 1), 9);
  EXPECT_EQ(CountCached(Range(0, 10), 2), 0);
  Start(Range(100, 10), {.salt = 1});
  EXPECT_EQ(Admit(Add(Range(100, 10)), {.salt = 2}).outcome, AdmitOutcome::kAdmitted) << "nor does it wait";
}

TEST_F(PrefixSharing, KeepsPartlyFilledPagesOfSaltsApart) {
  Run(Range(0, 3), {.salt = 1});
  EXPECT_EQ(CountCached(Range(0, 3), 1), 2);
  EXPECT_EQ(CountCached(Range(0, 3), 2), 0);
  // Salts that meet in one list of roots.
  EXPECT_EQ(CountCached(Range(0, 3), 1 + 1024), 0);
  Run(Range(0, 4), {.salt = 1 + 1024});
  EXPECT_EQ(CountCached(Range(0, 3), 1), 2) << "one does not replace the other";
}

TEST_F(PrefixSharing, ComputesEverythingWithoutReuse) {
  Sequence& first = Start(Range(0, 8));
  Sequence& second = Add(Range(0, 8));
  const Admission admission = Admit(second, {.reuse = false});
  EXPECT_EQ(admission.outcome, AdmitOutcome::kAdmitted) << "without waiting";
  EXPECT_EQ(admission.num_cached_tokens, 0);
  EXPECT_EQ(manager_.counts().used, 4);
  Release(first, 0);
  Compute(second);
  EXPECT_EQ(CountCached(Range(0, 9)), 8) << "others may use what it computed";
}

TEST_F(PrefixSharing, RefusesWhatWouldNotLeaveTheReserve) {
  Start(Range(0, 8));
  Sequence& sequence = Add(Range(100, 12));
  EXPECT_EQ(Admit(sequence, {.reserve_blocks = 4}).outcome, AdmitOutcome::kNoRoom);
  EXPECT_TRUE(sequence.table.blocks.empty());
  EXPECT_EQ(manager_.counts().used, 2);
  EXPECT_EQ(Admit(sequence, {.reserve_blocks = 3}).outcome, AdmitOutcome::kAdmitted);
}

TEST_F(PrefixSharing, CountsCachedPagesThatAreTakenAgainstTheReserve) {
  Run(Range(0, 8));
  Start(Range(100, 20));
  ASSERT_EQ(manager_.counts().free, 1);
  // Two cached pages are taken and a free one: nothing is left.
  EXPECT_EQ(Admit(Add(Range(0, 9)), {.reserve_blocks = 1}).outcome, AdmitOutcome::kNoRoom);
}

TEST_F(PrefixSharing, CountsWithoutChangingAnything) {
  Run(Range(0, 8));
  EXPECT_EQ(CountCached(Join(Range(0, 6), Range(50, 4))), 6);
  EXPECT_EQ(manager_.counts().cached, 2);
  EXPECT_EQ(manager_.counts().used, 0);
  EXPECT_EQ(CountCached({}), 0);
}

TEST(PrefixSharingOfPages, OfOneTokenEachNeedsNoCopies) {
  BlockManager manager({.num_blocks = 6, .block_size = 1});
  const std::vector<TokenId> tokens = Range(0, 3);
  BlockTable first, second;
  EXPECT_EQ(manager.Admit(first, tokens, {}).num_cached_tokens, 0);
  manager.Commit(first, tokens, 2);
  const Admission admission = manager.Admit(second, tokens, {});
  EXPECT_EQ(admission.outcome, AdmitOutcome::kAdmitted) << "the last page would be of no use to it";
  EXPECT_EQ(admission.num_cached_tokens, 2);
  EXPECT_THAT(manager.pending_copies(), IsEmpty());
  manager.CheckInvariants(std::vector<const BlockTable*>{&first, &second});
}

TEST(PrefixSharingWithTruncatedKeys, FindsTheSameAsWithWholeOnes) {
  BlockManager manager({.num_blocks = 64, .block_size = 2, .key_bits = 1});
  std::vector<std::vector<TokenId>> prompts;
  for (TokenId i = 0; i < 20; ++i) {
    prompts.push_back({i, i + 1, i % 3, 7, 9});
    BlockTable table;
    ASSERT_EQ(manager.Admit(table, prompts.back(), {}).num_cached_tokens, 0);
    manager.Commit(table, prompts.back(), 4);
    manager.Release(table, prompts.back(), 4);
  }
  manager.CheckInvariants({});
  for (const auto& prompt : prompts) EXPECT_EQ(manager.CountCached(prompt, 0), 4);
  EXPECT_EQ(manager.CountCached(std::vector<TokenId>{30, 31, 0, 7, 9}, 0), 0);
}

TEST(PrefixCachingSwitchedOff, SharesNothingAndNeverWaits) {
  BlockManager manager({.num_blocks = 8, .block_size = 4, .enable_prefix_caching = false});
  const std::vector<TokenId> tokens = Range(0, 8);
  BlockTable first, second;
  manager.Admit(first, tokens, {});
  EXPECT_EQ(manager.Admit(second, tokens, {}).outcome, AdmitOutcome::kAdmitted);
  manager.Commit(first, tokens, 8);
  EXPECT_EQ(manager.CountCached(tokens, 0), 0);
  manager.Release(first, tokens, 7);
  manager.Release(second, tokens, 7);
  EXPECT_EQ(manager.counts().free, 8);
  manager.CheckInvariants({});
}

}  // namespace
}  // namespace quire
