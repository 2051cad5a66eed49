#include "server/grpc/vllm/kv_event_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;

constexpr absl::Time kNow = absl::FromUnixMillis(1'700'000'000'500);

PageEvent Stored(uint64_t hash, std::optional<uint64_t> parent = {}) {
  return {.kind = PageEvent::Kind::kStored, .hash = hash, .parent_hash = parent, .tokens = {7, 8}};
}

PageEvent Removed(uint64_t hash) { return {.kind = PageEvent::Kind::kRemoved, .hash = hash}; }

TEST(KvEventMessages, HaveTheBatchsNumberAndTime) {
  const auto message = ToMessage(KvEventBatch{5, 9, kNow, {Removed(1)}}, 2);
  EXPECT_EQ(message.sequence_number(), 5u);
  EXPECT_EQ(message.events(0).event_id(), 9u);
  EXPECT_DOUBLE_EQ(message.timestamp(), 1'700'000'000.5);
  EXPECT_FALSE(message.has_snapshot());
}

TEST(KvEventMessages, PutPagesThatFollowEachOtherIntoOneEvent) {
  const auto message =
      ToMessage(KvEventBatch{1, 1, kNow, {Stored(10), Stored(11, 10), Stored(20, 11), Stored(30, 11)}}, 2);
  ASSERT_EQ(message.events_size(), 2);
  const auto& chain = message.events(0).stored();
  EXPECT_FALSE(chain.has_parent_block_hash());
  ASSERT_EQ(chain.blocks_size(), 3);
  EXPECT_EQ(chain.blocks(2).block_hash(), 20);
  EXPECT_EQ(chain.blocks(2).block_size(), 2);
  EXPECT_THAT(chain.blocks(2).token_ids(), ElementsAre(7, 8));
  const auto& other = message.events(1).stored();
  EXPECT_EQ(other.parent_block_hash(), 11);
  EXPECT_EQ(other.blocks(0).block_hash(), 30);
}

TEST(KvEventMessages, PutRemovalsInARowIntoOneEventAndKeepTheOrder) {
  const auto message =
      ToMessage(KvEventBatch{1, 1, kNow, {Removed(1), Removed(2), Stored(3), PageEvent(), Removed(4)}}, 2);
  ASSERT_EQ(message.events_size(), 4);
  EXPECT_THAT(message.events(0).removed().block_hashes(), ElementsAre(1, 2));
  EXPECT_TRUE(message.events(1).has_stored());
  EXPECT_TRUE(message.events(2).has_cleared());
  EXPECT_THAT(message.events(3).removed().block_hashes(), ElementsAre(4));
}

TEST(KvEventMessages, SendHashesAsSignedNumbersOfTheSameBits) {
  const auto message = ToMessage(KvEventBatch{1, 1, kNow, {Removed(~uint64_t{0})}}, 2);
  EXPECT_EQ(message.events(0).removed().block_hashes(0), -1);
}

TEST(KvEventMessages, EndASnapshotWithTheNumberItWasTakenAt) {
  KvSnapshot snapshot{{}, 1000, kNow};
  for (uint64_t i = 0; i < 2 * KvSnapshot::kPagesPerChunk + 1; ++i) snapshot.pages.push_back(Stored(i));
  ASSERT_EQ(snapshot.num_chunks(), 3u);
  int num_blocks = 0;
  for (size_t i = 0; i < 3; ++i) {
    const auto message = ToMessage(snapshot, i, 2);
    EXPECT_EQ(message.sequence_number(), 998 + i);
    EXPECT_EQ(message.snapshot().index(), i);
    EXPECT_EQ(message.snapshot().count(), 3u);
    EXPECT_EQ(message.snapshot().blocks(), snapshot.pages.size());
    EXPECT_EQ(message.events(0).has_cleared(), i == 0);
    for (const auto& event : message.events()) num_blocks += event.stored().blocks_size();
  }
  EXPECT_EQ(num_blocks, static_cast<int>(snapshot.pages.size()));
}

TEST(KvEventMessages, SayInASnapshotThatThereIsNothing) {
  const KvSnapshot snapshot{{}, 1000, kNow};
  ASSERT_EQ(snapshot.num_chunks(), 1u);
  const auto message = ToMessage(snapshot, 0, 2);
  EXPECT_EQ(message.sequence_number(), 1000u);
  ASSERT_EQ(message.events_size(), 1);
  EXPECT_TRUE(message.events(0).has_cleared());
}

}  // namespace
}  // namespace quire
