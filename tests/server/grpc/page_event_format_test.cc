#include "server/grpc/page_event_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;

constexpr absl::Time kNow = absl::FromUnixMillis(1'700'000'000'500);

PageEvent Stored(uint64_t hash, uint64_t owner, std::optional<uint64_t> parent = {}) {
  return {.kind = PageEvent::Kind::kStored, .hash = hash, .parent_hash = parent, .tokens = {7, 8}, .salt = owner};
}

TEST(PageEventFormat, TellsACallersOwnPagesOnly) {
  const PageEventFormat format(/*first_sequence=*/0, /*owner=*/1);
  const KvEventBatch batch{5, 9, kNow,
                           {Stored(10, 1), Stored(20, 2), {.kind = PageEvent::Kind::kRemoved, .hash = 30, .salt = 1},
                            {.kind = PageEvent::Kind::kRemoved, .hash = 40, .salt = 2}, {}}};
  const v1::PageEvents message = format.MakeMessage(batch);
  EXPECT_EQ(message.sequence(), 5u);
  EXPECT_EQ(message.time().seconds(), 1'700'000'000);
  EXPECT_EQ(message.time().nanos(), 500'000'000);
  ASSERT_EQ(message.events_size(), 3);
  EXPECT_EQ(message.events(0).stored().hash(), 10u);
  EXPECT_FALSE(message.events(0).stored().has_parent_hash());
  EXPECT_THAT(message.events(0).stored().token_ids(), ElementsAre(7, 8));
  EXPECT_EQ(message.events(1).removed().hash(), 30u);
  EXPECT_TRUE(message.events(2).has_cleared());
  EXPECT_FALSE(format.Concerns(Stored(20, 2)));
}

TEST(PageEventFormat, NumbersThePartsOfASnapshot) {
  const PageEventFormat format(0, 1);
  KvSnapshot snapshot{{}, 100, kNow};
  for (uint64_t i = 0; i < KvSnapshot::kPagesPerChunk + 1; ++i) snapshot.pages.push_back(Stored(i, 1));
  EXPECT_EQ(format.MakeMessage(snapshot, 0).sequence(), 99u);
  const v1::PageEvents last = format.MakeMessage(snapshot, 1);
  EXPECT_EQ(last.sequence(), 100u);
  EXPECT_EQ(last.snapshot().count(), 2);
  EXPECT_EQ(last.events_size(), 1);
}

}  // namespace
}  // namespace quire
