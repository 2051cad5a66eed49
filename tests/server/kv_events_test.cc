#include "server/kv_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

constexpr absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

class CountingReader : public KvEventReader {
 public:
  void OnKvEvents() override { ++num_calls; }
  int num_calls = 0;
};

// One event that holds a page of tokens.
std::vector<PageEvent> Stored(uint64_t hash) {
  return {{.kind = PageEvent::Kind::kStored, .hash = hash, .tokens = std::vector<TokenId>(100)}};
}

TEST(KvEvents, NumberBatchesAndEventsInOrder) {
  KvEvents events(kStart);
  const uint64_t before = events.last_sequence();
  events.Append({{.hash = 1}, {.hash = 2}}, kStart);
  events.Append({{.hash = 3}}, kStart + absl::Seconds(1));
  EXPECT_EQ(events.last_sequence(), before + 2);
  const auto first = events.Find(before + 1), second = events.Find(before + 2);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ((*first)->sequence, before + 1);
  EXPECT_EQ((*first)->events.size(), 2u);
  EXPECT_EQ((*second)->first_event_id, (*first)->first_event_id + 2);
  EXPECT_EQ((*second)->time, kStart + absl::Seconds(1));
}

TEST(KvEvents, HaveNoBatchWithoutEvents) {
  KvEvents events(kStart);
  const uint64_t before = events.last_sequence();
  events.Append({}, kStart);
  EXPECT_EQ(events.last_sequence(), before);
}

TEST(KvEvents, TellTheNextBatchFromOneThatIsGone) {
  KvEvents events(kStart, /*max_bytes=*/1500);
  const uint64_t before = events.last_sequence();
  for (uint64_t i = 0; i < 10; ++i) events.Append(Stored(i), kStart);
  const uint64_t last = events.last_sequence();
  const auto next = events.Find(last + 1);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, nullptr);
  EXPECT_TRUE(events.Find(last).ok());
  EXPECT_TRUE(absl::IsOutOfRange(events.Find(before + 1).status()));
  EXPECT_TRUE(absl::IsOutOfRange(events.Find(last + 2).status()));
}

TEST(KvEvents, KeepTheNewestBatchHoweverLargeItIs) {
  KvEvents events(kStart, /*max_bytes=*/1);
  events.Append(Stored(1), kStart);
  events.Append(Stored(2), kStart);
  EXPECT_TRUE(events.Find(events.last_sequence()).ok());
  EXPECT_FALSE(events.Find(events.last_sequence() - 1).ok());
}

TEST(KvEvents, DoNotTakeNumbersOfAnEarlierLifeForTheirOwn) {
  KvEvents earlier(kStart);
  for (uint64_t i = 0; i < 1000; ++i) earlier.Append(Stored(i), kStart);
  KvEvents later(kStart + absl::Seconds(1));
  EXPECT_TRUE(absl::IsOutOfRange(later.Find(earlier.last_sequence()).status()));
  EXPECT_TRUE(absl::IsOutOfRange(later.Find(earlier.last_sequence() + 1).status()));
  EXPECT_GT(later.last_sequence(), earlier.last_sequence() + 1000) << "room for numbers of a snapshot";
}

TEST(KvEvents, TellEveryReaderThatIsStillThere) {
  KvEvents events(kStart);
  const auto stays = std::make_shared<CountingReader>();
  auto leaves = std::make_shared<CountingReader>();
  ASSERT_TRUE(events.AddReader(stays).ok());
  ASSERT_TRUE(events.AddReader(leaves).ok());
  events.Append(Stored(1), kStart);
  EXPECT_EQ(leaves->num_calls, 1);
  leaves.reset();
  events.Append(Stored(2), kStart);
  EXPECT_EQ(stays->num_calls, 2);
}

TEST(KvEvents, RefuseReadersBeyondABoundUntilOneLeaves) {
  KvEvents events(kStart);
  std::vector<std::shared_ptr<CountingReader>> readers;
  for (size_t i = 0; i < KvEvents::kMaxReaders; ++i) {
    readers.push_back(std::make_shared<CountingReader>());
    ASSERT_TRUE(events.AddReader(readers.back()).ok());
  }
  const auto another = std::make_shared<CountingReader>();
  EXPECT_TRUE(absl::IsResourceExhausted(events.AddReader(another)));
  readers.pop_back();
  EXPECT_TRUE(events.AddReader(another).ok());
}

}  // namespace
}  // namespace quire
