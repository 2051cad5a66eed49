// Pages that are brought in from elsewhere.
#include "tests/block_manager/block_manager_fixture.h"

namespace quire {
namespace {

class Loading : public BlockManagerFixture {
 protected:
  Loading() : BlockManagerFixture({.num_blocks = 8, .block_size = 4}) {}

  // A load of all pages of these tokens, beyond num_known.
  Sequence& Load(std::vector<TokenId> tokens, int num_known = 0) {
    Sequence& load = Add(std::move(tokens));
    manager_.AdmitLoad(load.table, load.tokens, /*salt=*/0, num_known);
    CheckInvariants();
    return load;
  }
  void End(Sequence& load, int num_filled) {
    manager_.Release(load.table, load.tokens, num_filled * 4);
    CheckInvariants();
  }
};

TEST_F(Loading, WhatWasFilledCanBeShared) {
  Sequence& load = Load(Range(0, 12));
  ASSERT_EQ(load.table.blocks.size(), 3u);
  EXPECT_EQ(manager_.CountCached(Range(0, 13), 0), 0);
  End(load, 2);
  EXPECT_EQ(manager_.CountCached(Range(0, 13), 0), 8);
  EXPECT_EQ(manager_.counts().cached, 2);
  EXPECT_EQ(manager_.counts().free, 6);
}

TEST_F(Loading, IsWaitedForLikeAComputation) {
  Sequence& load = Load(Range(0, 12));
  EXPECT_EQ(Admit(Add(Range(0, 13))).outcome, AdmitOutcome::kWaitForPrefix);
  EXPECT_TRUE(manager_.FindShared(Range(0, 13), 3, 0).being_computed);
  EXPECT_TRUE(Load(Range(0, 12)).table.blocks.empty());
  End(load, 3);
  EXPECT_EQ(Start(Range(0, 13)).table.num_indexed_blocks, 3);
}

TEST_F(Loading, GoesOnBehindWhatIsThere) {
  End(Load(Range(0, 8)), 2);
  EXPECT_EQ(manager_.FindShared(Range(0, 17), 4, 0).num_blocks, 2);
  Sequence& load = Load(Range(0, 16), /*num_known=*/2);
  EXPECT_EQ(load.table.num_indexed_blocks, 2);
  EXPECT_EQ(load.table.blocks.size(), 4u);
  End(load, 4);
  EXPECT_EQ(manager_.CountCached(Range(0, 17), 0), 16);
}

TEST_F(Loading, DoesNotBeginBehindWhatIsGone) { EXPECT_TRUE(Load(Range(0, 16), 2).table.blocks.empty()); }

TEST_F(Loading, TakesNoMorePagesThanThereAre) {
  Start(Range(100, 20));  // 5 of 8.
  Sequence& load = Load(Range(0, 16));
  EXPECT_EQ(load.table.blocks.size(), 3u);
  End(load, 3);
}

TEST_F(Loading, ForgetsNothingThatIsThereWhenItFails) {
  End(Load(Range(0, 8)), 2);
  End(Load(Range(0, 16), 2), 2);
  EXPECT_EQ(manager_.CountCached(Range(0, 17), 0), 8);
}

TEST_F(Loading, IsOfNoUseOnceTheCacheWasCleared) {
  Sequence& load = Load(Range(0, 12));
  manager_.ClearCache();
  End(load, 3);
  EXPECT_EQ(manager_.counts().free, 8);
}

TEST_F(Loading, TellsEachPageThatBecameShareableOnce) {
  manager_.RecordComputed();
  Sequence& load = Load(Range(0, 8));
  EXPECT_FALSE(manager_.HasComputed());
  const std::vector<BlockId> blocks = load.table.blocks;
  End(load, 2);
  EXPECT_EQ(manager_.TakeComputed(), blocks);
  EXPECT_FALSE(manager_.HasComputed());
  const PageRecord second = *manager_.SharedPage(blocks[1]);
  EXPECT_EQ(second.tokens, Range(4, 4));
  EXPECT_EQ(second.parent, manager_.SharedPage(blocks[0])->key);
  EXPECT_EQ(second.key, manager_.FindShared(Range(0, 9), 2, 0).key);
  manager_.ClearCache();
  EXPECT_EQ(manager_.SharedPage(blocks[1]), std::nullopt);
}

TEST_F(Loading, KeysTellSaltsAndPrefixesApart) {
  const auto key = [](uint64_t salt, const std::vector<TokenId>& tokens) { return NextKey(RootKey(salt), tokens); };
  EXPECT_EQ(key(1, Range(0, 4)), key(1, Range(0, 4)));
  EXPECT_NE(key(1, Range(0, 4)), key(2, Range(0, 4)));
  EXPECT_NE(key(1, Range(0, 4)), NextKey(key(1, Range(0, 4)), Range(0, 4)));
  EXPECT_NE(key(1, Range(0, 4)).hash, key(1, Range(0, 4)).check);
}

}  // namespace
}  // namespace quire
