#include "block_manager/prefix_index.h"

#include <gtest/gtest.h>

#include <set>

namespace quire {
namespace {

using State = PrefixIndex::State;

constexpr PageParent kRoot{kNoBlock, 5};

// Written down once: a page that is stored under its hash must be found by the next process.
TEST(PrefixIndex, HashesAreTheSameInEveryProcess) {
  const std::vector<TokenId> first = {1, 2, 3, 4}, second = {5, 6, 7, 8};
  const uint64_t hash = PrefixIndex::PageHash(/*parent_hash=*/42, first);
  EXPECT_EQ(hash, 14608671080364358214u);
  EXPECT_EQ(PrefixIndex::PageHash(hash, second), 3664754388578899040u);
  EXPECT_EQ(PrefixIndex::RootHash(/*salt=*/42), 15395265915043915720u);
}

// Four tokens are as long as what XXH3 mixes with its seed by addition alone.
TEST(PrefixIndex, GivesPagesOfNeighbouringSaltsDifferentHashes) {
  std::set<uint64_t> hashes;
  for (uint64_t salt = 0; salt < 8; ++salt) {
    for (TokenId i = 0; i < 64; ++i) {
      hashes.insert(PrefixIndex::PageHash(PrefixIndex::RootHash(salt), std::vector<TokenId>{i & 7, 0, i >> 3, 0}));
    }
  }
  EXPECT_EQ(hashes.size(), 8u * 64);
}

TEST(PrefixIndex, FindsAPageByItsParentAndTokens) {
  PrefixIndex index(4, 2, 64);
  index.Insert(3, kRoot, std::vector<TokenId>{1, 2}, State::kComputed);
  index.Insert(1, {3, 5}, std::vector<TokenId>{1, 2}, State::kComputing);
  EXPECT_EQ(index.Find(kRoot, std::vector<TokenId>{1, 2}), 3);
  EXPECT_EQ(index.Find({3, 5}, std::vector<TokenId>{1, 2}), 1);
  EXPECT_EQ(index.Find({3, 5}, std::vector<TokenId>{1, 3}), kNoBlock);
  EXPECT_EQ(index.Find({kNoBlock, 6}, std::vector<TokenId>{1, 2}), kNoBlock);
  EXPECT_TRUE(index.IsComputing(1));
  index.MarkComputed(1);
  EXPECT_TRUE(index.IsComputed(1));
  index.CheckInvariants();
}

TEST(PrefixIndex, FindsThePagesLeftWhenOthersWithTheSameKeyAreRemoved) {
  PrefixIndex index(6, 1, /*key_bits=*/1);
  for (BlockId block = 0; block < 6; ++block) {
    index.Insert(block, kRoot, std::vector<TokenId>{block}, State::kComputed);
  }
  for (BlockId block : {2, 0, 5}) index.Remove(block);
  index.CheckInvariants();
  for (BlockId block = 0; block < 6; ++block) {
    const bool removed = block == 2 || block == 0 || block == 5;
    EXPECT_EQ(index.Find(kRoot, std::vector<TokenId>{block}), removed ? kNoBlock : block);
  }
}

TEST(PrefixIndex, OffersOnlyComputedPagesForPartialReuse) {
  PrefixIndex index(4, 4, 64);
  index.Insert(0, kRoot, std::vector<TokenId>{1, 2, 3, 4}, State::kComputing);
  index.Insert(1, kRoot, std::vector<TokenId>{1, 2}, State::kComputed);
  const PageOverlap overlap = index.FindOverlap(kRoot, std::vector<TokenId>{1, 2, 3});
  EXPECT_EQ(overlap.block, 1);
  EXPECT_EQ(overlap.num_tokens, 2);
}

TEST(PrefixIndex, LooksForPartialReuseAmongTheNewestSiblingsOnly) {
  constexpr int kMany = 100;
  PrefixIndex index(kMany, 2, 64);
  for (BlockId block = 0; block < kMany; ++block) {
    index.Insert(block, kRoot, std::vector<TokenId>{block, 7}, State::kComputed);
  }
  EXPECT_EQ(index.FindOverlap(kRoot, std::vector<TokenId>{kMany - 1, 8}).num_tokens, 1);
  EXPECT_EQ(index.FindOverlap(kRoot, std::vector<TokenId>{0, 8}).num_tokens, 0) << "the time of a look-up is bounded";
  EXPECT_EQ(index.Find(kRoot, std::vector<TokenId>{0, 7}), 0);
}

TEST(PrefixIndex, NamesAPartlyFilledSiblingThatALongerPageCovers) {
  PrefixIndex index(4, 4, 64);
  index.Insert(0, kRoot, std::vector<TokenId>{1, 2}, State::kComputed);
  index.Insert(1, kRoot, std::vector<TokenId>{1, 9}, State::kComputed);
  index.Insert(2, kRoot, std::vector<TokenId>{1, 2, 3}, State::kComputed);
  EXPECT_EQ(index.FindCoveredSibling(2), 0);
  EXPECT_EQ(index.FindCoveredSibling(1), kNoBlock);
}

TEST(PrefixIndex, RefusesToOrphanAPage) {
  PrefixIndex index(2, 1, 64);
  index.Insert(0, kRoot, std::vector<TokenId>{1}, State::kComputed);
  index.Insert(1, {0, 5}, std::vector<TokenId>{2}, State::kComputed);
  EXPECT_DEATH(index.Remove(0), "check failed");
}

}  // namespace
}  // namespace quire
