#include "block_manager/block_pool.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(BlockPool, HandsOutEachPageOnce) {
  BlockPool pool(3);
  EXPECT_EQ(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), 1);
  EXPECT_EQ(pool.Take(), 2);
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.num_used(), 3);
  EXPECT_DEATH(pool.Take(), "check failed");
}

TEST(BlockPool, TheLastReferenceDecidesBetweenFreeAndCached) {
  BlockPool pool(2);
  const BlockId kept = pool.Take();
  const BlockId dropped = pool.Take();
  pool.Hold(kept);
  pool.Drop(kept, /*keep=*/true);
  EXPECT_EQ(pool.num_used(), 2);
  pool.Drop(kept, /*keep=*/true);
  pool.Drop(dropped, /*keep=*/false);
  EXPECT_TRUE(pool.is_cached(kept));
  EXPECT_FALSE(pool.is_cached(dropped));
  EXPECT_EQ(pool.num_free(), 1);
  EXPECT_EQ(pool.num_cached(), 1);
  pool.CheckInvariants();
}

TEST(BlockPool, CountsThePagesThatAreHeldMoreThanOnce) {
  BlockPool pool(3);
  const BlockId first = pool.Take();
  const BlockId second = pool.Take();
  EXPECT_EQ(pool.num_shared(), 0);
  pool.Hold(first);
  pool.Hold(first);
  EXPECT_EQ(pool.num_shared(), 1);
  pool.Hold(second);
  EXPECT_EQ(pool.num_shared(), 2);
  pool.Drop(first, /*keep=*/true);
  EXPECT_EQ(pool.num_shared(), 2);
  pool.Drop(first, /*keep=*/true);
  pool.Drop(second, /*keep=*/true);
  EXPECT_EQ(pool.num_shared(), 0);
  pool.Drop(first, /*keep=*/true);
  pool.Hold(first);
  EXPECT_EQ(pool.num_shared(), 0) << "a cached page has one holder again";
  pool.CheckInvariants();
}

TEST(BlockPool, ListsCachedPagesLeastRecentlyUsedFirst) {
  BlockPool pool(3);
  for (int i = 0; i < 3; ++i) pool.Take();
  for (BlockId block : {1, 0, 2}) pool.Drop(block, /*keep=*/true);
  pool.Hold(1);
  pool.Drop(1, /*keep=*/true);
  EXPECT_EQ(pool.oldest_cached(), 0);
  EXPECT_EQ(pool.next_cached(0), 2);
  EXPECT_EQ(pool.next_cached(2), 1);
  EXPECT_EQ(pool.next_cached(1), kNoBlock);
  pool.Discard(2);
  EXPECT_EQ(pool.next_cached(0), 1);
  EXPECT_EQ(pool.num_free(), 1);
  pool.CheckInvariants();
}

TEST(BlockPool, RejectsReferencesToFreePages) {
  BlockPool pool(1);
  EXPECT_DEATH(pool.Hold(0), "check failed");
  EXPECT_DEATH(pool.Drop(0, /*keep=*/false), "check failed");
  EXPECT_DEATH(pool.Discard(0), "check failed");
}

}  // namespace
}  // namespace quire
