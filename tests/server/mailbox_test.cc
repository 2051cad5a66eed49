#include "server/mailbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace quire {
namespace {

using ::testing::ElementsAre;

TEST(Mailbox, HandsEverythingOverAtOnceInOrder) {
  Mailbox<int> mailbox(8);
  EXPECT_TRUE(mailbox.TryPush(1));
  EXPECT_TRUE(mailbox.Push(2));
  EXPECT_TRUE(mailbox.TryPush(3));
  std::vector<int> items = {99};
  EXPECT_TRUE(mailbox.TakeAll(items, /*wait=*/true));
  EXPECT_THAT(items, ElementsAre(1, 2, 3));
  EXPECT_TRUE(mailbox.TakeAll(items, /*wait=*/false));
  EXPECT_THAT(items, ElementsAre());
}

TEST(Mailbox, RefusesNewWorkWhenFullAndLeavesItWithTheCaller) {
  Mailbox<std::unique_ptr<int>> mailbox(1);
  EXPECT_TRUE(mailbox.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(mailbox.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(Mailbox, TakesWordAboutAdmittedWorkEvenWhenFull) {
  Mailbox<int> mailbox(1);
  EXPECT_TRUE(mailbox.TryPush(1));
  EXPECT_TRUE(mailbox.Push(2));
  std::vector<int> items;
  EXPECT_TRUE(mailbox.TakeAll(items, /*wait=*/false));
  EXPECT_THAT(items, ElementsAre(1, 2));
  EXPECT_TRUE(mailbox.TryPush(3));
}

TEST(Mailbox, HandsOutWhatWaitsAfterClosingAndAcceptsNothingMore) {
  Mailbox<int> mailbox(8);
  EXPECT_TRUE(mailbox.Push(1));
  mailbox.Close();
  EXPECT_FALSE(mailbox.Push(2));
  EXPECT_FALSE(mailbox.TryPush(2));
  std::vector<int> items;
  EXPECT_TRUE(mailbox.TakeAll(items, /*wait=*/true));
  EXPECT_THAT(items, ElementsAre(1));
  EXPECT_FALSE(mailbox.TakeAll(items, /*wait=*/true));
}

TEST(Mailbox, ShowsWhatWaitsToItsConsumerWhoThenTakesIt) {
  Mailbox<int> mailbox(8);
  for (int item = 1; item <= 3; ++item) EXPECT_TRUE(mailbox.Push(item));
  std::vector<int> seen;
  const auto see = [&](int item) { seen.push_back(item); };
  EXPECT_EQ(mailbox.Peek(1, see), 3u);
  EXPECT_THAT(seen, ElementsAre(2, 3));
  EXPECT_EQ(mailbox.Peek(3, see), 3u);
  std::vector<int> items;
  EXPECT_TRUE(mailbox.TakeAll(items, /*wait=*/true));
  EXPECT_THAT(items, ElementsAre(1, 2, 3));
}

TEST(Mailbox, WaitsNoLongerThanItsConsumerHasPatience) {
  Mailbox<int> mailbox(8);
  std::vector<int> items = {99};
  EXPECT_TRUE(mailbox.TakeAllWithin(items, std::chrono::milliseconds(1)));
  EXPECT_THAT(items, ElementsAre());
  EXPECT_TRUE(mailbox.Push(1));
  EXPECT_TRUE(mailbox.TakeAllWithin(items, std::chrono::hours(1)));
  EXPECT_THAT(items, ElementsAre(1));
  mailbox.Close();
  EXPECT_FALSE(mailbox.TakeAllWithin(items, std::chrono::hours(1)));
}

TEST(Mailbox, WakesItsConsumerWhenClosed) {
  Mailbox<int> mailbox(8);
  std::thread consumer([&mailbox] {
    std::vector<int> items;
    EXPECT_FALSE(mailbox.TakeAll(items, /*wait=*/true));
  });
  mailbox.Close();
  consumer.join();
}

TEST(Mailbox, KeepsTheOrderOfEachOfManyProducers) {
  constexpr int kProducers = 4, kItems = 2000;
  Mailbox<std::pair<int, int>> mailbox(1);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&mailbox, p] {
      for (int i = 0; i < kItems; ++i) mailbox.Push({p, i});
    });
  }
  std::vector<int> next(kProducers, 0);
  std::vector<std::pair<int, int>> items;
  for (int taken = 0; taken < kProducers * kItems;) {
    ASSERT_TRUE(mailbox.TakeAll(items, /*wait=*/true));
    for (const auto& [producer, item] : items) ASSERT_EQ(item, next[producer]++);
    taken += static_cast<int>(items.size());
  }
  for (std::thread& producer : producers) producer.join();
}

}  // namespace
}  // namespace quire
