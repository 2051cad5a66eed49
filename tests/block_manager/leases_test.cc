// Leases: what they keep, for whom, and who gives way when pages run out.
#include <gmock/gmock.h>

#include "tests/block_manager/block_manager_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

class Leases : public BlockManagerFixture {
 protected:
  Leases() : BlockManagerFixture({.num_blocks = 8, .block_size = 4, .max_pinned_blocks = 4, .max_leases = 3}) {}

  LeaseResult Pin(const std::vector<TokenId>& tokens, const LeaseOptions& options = {}) {
    const LeaseResult result = manager_.Pin(tokens, options);
    CheckInvariants();
    return result;
  }
  LeaseId MustPin(const std::vector<TokenId>& tokens, const LeaseOptions& options = {}) {
    const LeaseResult result = Pin(tokens, options);
    EXPECT_EQ(result.outcome, LeaseOutcome::kLeased);
    return result.lease.id;
  }
  int Kept(LeaseId id) const {
    const Lease* lease = manager_.FindLease(id);
    return lease == nullptr ? 0 : lease->num_tokens;
  }
};

constexpr LeaseOptions kPinned = {.kind = LeaseKind::kPinned};

TEST_F(Leases, KeepFullPagesAndTheOneThatIsCoveredInPart) {
  Run(Range(0, 10));
  const LeaseResult result = Pin(Range(0, 10));
  EXPECT_EQ(result.outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(result.lease.num_tokens, 10);
  EXPECT_EQ(result.lease.num_blocks, 3);
  EXPECT_EQ(manager_.counts().leased, 3);
  EXPECT_EQ(manager_.counts().used, 3);
  EXPECT_EQ(manager_.counts().yielding, 3);
}

TEST_F(Leases, KeepWhatIsCachedOfALongerPrefix) {
  Run(Range(0, 8));
  EXPECT_EQ(Pin(Range(0, 20)).lease.num_tokens, 8);
  EXPECT_EQ(Pin(Range(100, 4)).outcome, LeaseOutcome::kNothingCached);
}

TEST_F(Leases, OutliveWhatNobodyLeases) {
  Run(Range(0, 8));
  MustPin(Range(0, 8));
  for (int i = 1; i <= 4; ++i) Run(Range(100 * i, 20));
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
  EXPECT_EQ(CountCached(Range(100, 21)), 0);
}

TEST_F(Leases, OfLeastPriorityGiveWayFirstFromTheirEnds) {
  Run(Range(0, 8));
  Run(Range(100, 8));
  const LeaseId weak = MustPin(Range(0, 8), {.priority = 1});
  const LeaseId strong = MustPin(Range(100, 8), {.priority = 2});
  Start(Range(200, 20));  // Five pages, of which four are free.
  EXPECT_EQ(Kept(weak), 4);
  EXPECT_EQ(Kept(strong), 8);
  Start(Range(300, 8));
  EXPECT_EQ(Kept(weak), 0);
  EXPECT_EQ(Kept(strong), 4);
  EXPECT_EQ(manager_.num_leases(), 1);
}

TEST_F(Leases, ThatEndSoonerGiveWayFirstAmongEquals) {
  Run(Range(0, 4));
  Run(Range(100, 4));
  const LeaseId late = MustPin(Range(0, 4), {.expires = 20});
  const LeaseId soon = MustPin(Range(100, 4), {.expires = 10});
  Start(Range(200, 28));
  EXPECT_EQ(Kept(late), 4);
  EXPECT_EQ(Kept(soon), 0);
}

TEST_F(Leases, ThatArePinnedNeverGiveWay) {
  Run(Range(0, 16));
  const LeaseId id = MustPin(Range(0, 16), kPinned);
  EXPECT_EQ(Admit(Add(Range(100, 17))).outcome, AdmitOutcome::kNoRoom);
  Sequence& sequence = Start(Range(200, 16));
  EXPECT_FALSE(Grow(sequence, 16, 17));
  EXPECT_EQ(Kept(id), 16);
  EXPECT_EQ(manager_.counts().yielding, 0);
}

TEST_F(Leases, ARefusalTakesNothingFromThem) {
  Run(Range(0, 8));
  const LeaseId id = MustPin(Range(0, 8));
  Start(Range(100, 20));
  EXPECT_EQ(Admit(Add(Range(200, 16))).outcome, AdmitOutcome::kNoRoom);
  EXPECT_EQ(Kept(id), 8);
}

TEST_F(Leases, CannotPinMoreThanTheBound) {
  Run(Range(0, 12));
  Run(Range(100, 8));
  MustPin(Range(0, 12), kPinned);
  EXPECT_EQ(Pin(Range(100, 8), kPinned).outcome, LeaseOutcome::kTooMuchPinned);
  // The same pages once more take no more room.
  MustPin(Range(0, 12), kPinned);
  const LeaseResult instead = Pin(Range(100, 8), {.kind = LeaseKind::kPinned, .or_preferred = true});
  EXPECT_EQ(instead.outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(instead.lease.options.kind, LeaseKind::kPreferred);
  EXPECT_EQ(Pin(Range(0, 4)).outcome, LeaseOutcome::kTooManyLeases);
}

TEST_F(Leases, OfSeveralOwnersAreEachTheirOwn) {
  Run(Range(0, 8), {.salt = 7});
  EXPECT_EQ(Pin(Range(0, 8), {.owner = 8}).outcome, LeaseOutcome::kNothingCached);
  const LeaseId id = MustPin(Range(0, 8), {.owner = 7});
  EXPECT_FALSE(manager_.Unpin(8, id));
  EXPECT_TRUE(manager_.ListLeases(8, 10).empty());
  ASSERT_EQ(manager_.ListLeases(7, 10).size(), 1u);
  EXPECT_EQ(manager_.ListLeases(7, 10)[0].id, id);
  EXPECT_TRUE(manager_.Unpin(7, id));
  EXPECT_FALSE(manager_.Unpin(7, id));
  CheckInvariants();
  EXPECT_EQ(manager_.counts().used, 0);
  EXPECT_EQ(CountCached(Range(0, 9), 7), 8);
}

TEST_F(Leases, EndInTime) {
  Run(Range(0, 8));
  const LeaseId soon = MustPin(Range(0, 4), {.expires = 10});
  const LeaseId late = MustPin(Range(0, 8), {.expires = 11});
  manager_.EndLeases(9);
  EXPECT_EQ(manager_.num_leases(), 2);
  manager_.EndLeases(10);
  EXPECT_EQ(Kept(soon), 0);
  EXPECT_EQ(Kept(late), 8);
  CheckInvariants();
}

TEST_F(Leases, DecideWhileTheyLiveAndLeaveNothingBehind) {
  Run(Range(0, 4));
  Run(Range(100, 4));
  manager_.Unpin(0, MustPin(Range(0, 4), kPinned));
  EXPECT_EQ(manager_.counts().pinned, 0);
  Start(Range(200, 32));
  EXPECT_EQ(CountCached(Range(0, 5)), 0);
}

TEST_F(Leases, KeepAPartlyFilledPageThatALongerSequenceCovers) {
  Run(Range(0, 6));
  const LeaseId id = MustPin(Range(0, 6), kPinned);
  Run(Range(0, 8));
  EXPECT_EQ(Kept(id), 6);
  Start(Range(100, 20));  // Evicts the longer one's page.
  EXPECT_EQ(CountCached(Join(Range(0, 6), {99})), 6);
}

TEST_F(Leases, EndWhenTheCacheIsCleared) {
  Run(Range(0, 8));
  MustPin(Range(0, 8), kPinned);
  manager_.ClearCache();
  CheckInvariants();
  EXPECT_EQ(manager_.num_leases(), 0);
  EXPECT_EQ(manager_.counts().free, 8);
}

TEST_F(Leases, OfOneOwnerAreBoundedByItsOwnLimits) {
  Run(Range(0, 4), {.salt = 5});
  Run(Range(100, 4), {.salt = 5});
  Run(Range(0, 4), {.salt = 6});
  const LeaseLimits limits = {.max_leases = 1};
  EXPECT_EQ(manager_.Pin(Range(0, 4), {.owner = 5}, limits).outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(manager_.Pin(Range(100, 4), {.owner = 5}, limits).outcome, LeaseOutcome::kOwnerHasTooMany);
  EXPECT_EQ(manager_.Pin(Range(0, 4), {.owner = 6}, limits).outcome, LeaseOutcome::kLeased);
  CheckInvariants();
}

TEST_F(Leases, OfOneOwnerPinNoMoreThanItMay) {
  Run(Range(0, 8), {.salt = 5});
  Run(Range(100, 4), {.salt = 6});
  const LeaseLimits limits = {.max_leases = 3, .max_pinned_blocks = 1};
  const LeaseOptions pinned = {.owner = 5, .kind = LeaseKind::kPinned};
  LeaseOptions yielding = pinned;
  yielding.or_preferred = true;
  EXPECT_EQ(manager_.Pin(Range(0, 8), pinned, limits).outcome, LeaseOutcome::kOwnerPinsTooMuch);
  const LeaseResult one = manager_.Pin(Range(0, 4), pinned, limits);
  EXPECT_EQ(one.outcome, LeaseOutcome::kLeased);
  const LeaseResult same = manager_.Pin(Range(0, 4), pinned, limits);
  EXPECT_EQ(same.outcome, LeaseOutcome::kLeased) << "the page counts once";
  EXPECT_TRUE(manager_.Unpin(5, one.lease.id));
  EXPECT_EQ(manager_.Pin(Range(0, 8), yielding, limits).lease.options.kind, LeaseKind::kPreferred);
  EXPECT_EQ(manager_.Pin(Range(100, 4), {.owner = 6, .kind = LeaseKind::kPinned}, limits).outcome,
            LeaseOutcome::kLeased);
  EXPECT_TRUE(manager_.Unpin(5, same.lease.id));
  CheckInvariants();
  EXPECT_EQ(manager_.Pin(Range(0, 4), pinned, limits).outcome, LeaseOutcome::kLeased) << "there is room again";
}

TEST_F(Leases, AreSafeFromEviction) {
  Run(Range(0, 8));
  Run(Join(Range(0, 4), Range(50, 8)));
  Run(Range(100, 8), {.salt = 1});
  MustPin(Range(0, 8));
  EXPECT_EQ(manager_.EvictAll(), 4);
  CheckInvariants();
  EXPECT_EQ(CountCached(Range(0, 9)), 8);
}

class Evictions : public Leases {};

TEST_F(Evictions, OfAPrefixTakeWhatBeginsWithItAndItsOwnTail) {
  Run(Range(0, 8));
  Run(Join(Range(0, 4), Range(50, 4)));
  Run(Join(Range(0, 4), Range(60, 4)));
  EXPECT_EQ(manager_.EvictPrefix(Range(0, 6), 0), 1);  // The rest of that page shows that it goes on so.
  CheckInvariants();
  EXPECT_EQ(CountCached(Range(0, 9)), 4);
  EXPECT_EQ(manager_.EvictPrefix(Join(Range(0, 4), Range(50, 4)), 0), 1);
  EXPECT_EQ(CountCached(Join(Range(0, 4), Range(60, 5))), 8);
  EXPECT_EQ(manager_.EvictPrefix(Range(0, 4), 0), 2);
  EXPECT_EQ(manager_.EvictPrefix(Range(0, 4), 0), 0);
  CheckInvariants();
}

TEST_F(Evictions, OfAnOwnerLeaveOthersAlone) {
  Run(Range(0, 8), {.salt = 1});
  Run(Range(0, 8), {.salt = 2});
  EXPECT_EQ(manager_.EvictPrefix(Range(0, 8), 3), 0);
  EXPECT_EQ(manager_.EvictOwner(1), 2);
  CheckInvariants();
  EXPECT_EQ(CountCached(Range(0, 9), 1), 0);
  EXPECT_EQ(CountCached(Range(0, 9), 2), 8);
}

TEST_F(Evictions, LeaveWhatIsInUse) {
  Run(Range(0, 8));
  Start(Join(Range(0, 4), Range(50, 3)));
  EXPECT_EQ(manager_.EvictPrefix(Range(0, 4), 0), 1);
  CheckInvariants();
}

TEST_F(Evictions, AListOfPrefixesTellsWhatIsThere) {
  Run(Range(0, 8), {.salt = 1});
  Run(Join(Range(0, 4), Range(50, 2)), {.salt = 1});
  MustPin(Range(0, 8), {.owner = 1});
  EXPECT_TRUE(manager_.ListPrefixes(0, 10).empty());
  const std::vector<CachedPrefix> prefixes = manager_.ListPrefixes(1, 10);
  ASSERT_EQ(prefixes.size(), 2u);
  const bool longer_first = prefixes[0].num_tokens == 8;
  const CachedPrefix& longer = prefixes[longer_first ? 0 : 1];
  const CachedPrefix& shorter = prefixes[longer_first ? 1 : 0];
  EXPECT_EQ(longer.num_leased_blocks, 2);
  EXPECT_EQ(shorter.num_tokens, 6);
  EXPECT_EQ(shorter.num_used_blocks, 1);
  EXPECT_THAT(shorter.first_tokens, ElementsAre(0, 1, 2, 3, 50, 51));
  EXPECT_EQ(manager_.ListPrefixes(1, 1).size(), 1u);
}

}  // namespace
}  // namespace quire
