#include "block_manager/tiers/page_store.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "block_manager/tiers/memory_slots.h"
#include "tests/block_manager/tiers/tier_fixture.h"

namespace quire {
namespace {

// Fails as told.
class FailingSlots : public PageSlots {
 public:
  explicit FailingSlots(int num_slots) : slots_(MemorySlots::Create(num_slots, kPageTokens, kPageBytes).value()) {}

  int num_slots() const override { return slots_->num_slots(); }
  int64_t page_bytes() const override { return slots_->page_bytes(); }
  std::vector<FoundPage> FindPages() override { return slots_->FindPages(); }
  absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                     std::span<const std::byte> bytes) override {
    return fail_writes ? absl::ResourceExhaustedError("no space") : slots_->Write(slot, page, sequence, bytes);
  }
  absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) override {
    return fail_reads ? absl::UnknownError("input/output error") : slots_->Read(slot, page, sequence, bytes);
  }
  absl::Status Erase(SlotId slot) override { return fail_clear ? absl::UnknownError("cannot") : slots_->Erase(slot); }
  absl::Status Clear() override { return fail_clear ? absl::UnknownError("cannot") : slots_->Clear(); }
  std::span<std::byte> Raw(SlotId slot) { return slots_->Raw(slot); }

  bool fail_writes = false, fail_reads = false, fail_clear = false;

 private:
  std::unique_ptr<MemorySlots> slots_;
};

class PageStoreTest : public testing::Test {
 protected:
  PageStoreTest() : read_(kPageBytes) {
    auto slots = std::make_unique<FailingSlots>(3);
    slots_ = slots.get();
    store_.emplace("the tier", std::move(slots), queue_, [this](const std::string& text) { warnings_.push_back(text); });
  }

  void Write(TokenId first) {
    written_.push_back(Contents(first));
    ASSERT_TRUE(store_->Write(Page(first), written_.back(), first));
  }
  // The statuses of what has been completed, by the tickets' order of completion.
  std::vector<absl::StatusCode> Complete() {
    queue_.RunAll();
    std::vector<absl::StatusCode> codes;
    for (const auto& completion : store_->TakeCompletions()) codes.push_back(completion.status.code());
    store_->CheckInvariants();
    return codes;
  }

  ManualQueue queue_;
  std::deque<std::vector<std::byte>> written_;
  std::vector<std::byte> read_;
  std::vector<std::string> warnings_;
  FailingSlots* slots_;
  std::optional<PageStore> store_;
};

constexpr auto kOk = absl::StatusCode::kOk;
using Codes = std::vector<absl::StatusCode>;

TEST_F(PageStoreTest, KnowsAPageOnceItIsWritten) {
  Write(10);
  queue_.RunAll();
  EXPECT_FALSE(store_->Contains(Page(10).key));
  EXPECT_TRUE(store_->HasCompletions());
  EXPECT_EQ(Complete(), Codes{kOk});
  EXPECT_TRUE(store_->Contains(Page(10).key));
  ASSERT_TRUE(store_->Read(Page(10), read_, 1));
  EXPECT_EQ(Complete(), Codes{kOk});
  EXPECT_EQ(read_, Contents(10));
  EXPECT_FALSE(store_->Read(Page(11), read_, 1));
}

TEST_F(PageStoreTest, ForgetsADamagedPage) {
  Write(10);
  Complete();
  slots_->Raw(0).back() ^= std::byte{1};
  ASSERT_TRUE(store_->Read(Page(10), read_, 1));
  EXPECT_EQ(Complete(), Codes{absl::StatusCode::kDataLoss});
  EXPECT_FALSE(store_->Contains(Page(10).key));
  EXPECT_EQ(store_->stats().pages_refused, 1u);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(PageStoreTest, GivesUpTheLeastRecentlyUsedAndCountsIt) {
  for (TokenId first : {10, 20, 30}) Write(first);
  Complete();
  ASSERT_TRUE(store_->Read(Page(10), read_, 1));
  Complete();
  Write(40);
  EXPECT_FALSE(store_->Contains(Page(20).key));
  Complete();
  EXPECT_TRUE(store_->Contains(Page(10).key));
  EXPECT_EQ(store_->stats().pages_evicted, 1u);
}

TEST_F(PageStoreTest, RefusesAWriteWhileEverySlotIsBusy) {
  for (TokenId first : {10, 20, 30}) Write(first);
  EXPECT_FALSE(store_->Write(Page(40), Contents(40), 4));
  Complete();
  Write(40);
}

TEST_F(PageStoreTest, WritesNothingMoreOnceTheMediumIsFullAndStillReads) {
  Write(10);
  Complete();
  slots_->fail_writes = true;
  Write(20);
  Write(30);
  EXPECT_EQ(Complete(), Codes(2, absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(warnings_.size(), 1u);
  EXPECT_FALSE(store_->Write(Page(40), Contents(40), 4));
  ASSERT_TRUE(store_->Read(Page(10), read_, 1));
  EXPECT_EQ(Complete(), Codes{kOk});
  EXPECT_EQ(store_->stats().failures, 2u);
}

TEST_F(PageStoreTest, ReadsNothingMoreFromAMediumThatKeepsFailing) {
  slots_->fail_reads = true;
  for (int i = 0; i < PageStore::kMaxFailedReads; ++i) {
    Write(10);
    Complete();
    ASSERT_TRUE(store_->Read(Page(10), read_, 1));
    EXPECT_EQ(Complete(), Codes{absl::StatusCode::kUnknown});
    EXPECT_FALSE(store_->Contains(Page(10).key));
  }
  EXPECT_FALSE(store_->Write(Page(10), Contents(10), 1));
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(PageStoreTest, ForgetsWhatIsChosenAlsoWhileItIsBeingWritten) {
  Write(10);
  Complete();
  Write(20);
  store_->Evict({.salt = 7, .prefix = {20}});
  Complete();
  EXPECT_TRUE(store_->Contains(Page(10).key));
  EXPECT_FALSE(store_->Contains(Page(20).key));
  store_->Evict({.salt = 8, .prefix = {}});
  Complete();
  EXPECT_TRUE(store_->Contains(Page(10).key));
  store_->Evict({.salt = 7, .prefix = {}});
  ASSERT_TRUE(store_->Read(Page(10), read_, 1)) << "it is not known yet what will be chosen";
  EXPECT_EQ(Complete(), Codes{absl::StatusCode::kDataLoss});
  EXPECT_FALSE(store_->Contains(Page(10).key));
  EXPECT_TRUE(slots_->FindPages().empty());
  EXPECT_EQ(store_->stats().pages_refused, 0u) << "nothing was damaged";
  for (TokenId first : {10, 20, 30}) Write(first);
  EXPECT_EQ(Complete(), Codes(3, kOk));
}

TEST_F(PageStoreTest, IsNotUsedAnyMoreWhenWhatIsChosenCannotBeErased) {
  Write(10);
  Complete();
  slots_->fail_clear = true;
  store_->Evict({.salt = 7, .prefix = {}});
  Complete();
  EXPECT_FALSE(store_->Contains(Page(10).key));
  EXPECT_FALSE(store_->Write(Page(20), Contents(20), 1));
}

TEST_F(PageStoreTest, ForgetsWhatIsBeingWrittenWhenItIsCleared) {
  Write(10);
  Complete();
  Write(20);
  ASSERT_TRUE(store_->Read(Page(10), read_, 1));
  store_->Clear();
  EXPECT_FALSE(store_->Contains(Page(10).key));
  Complete();
  EXPECT_FALSE(store_->Contains(Page(10).key));
  EXPECT_FALSE(store_->Contains(Page(20).key));
  EXPECT_TRUE(slots_->FindPages().empty());
  for (TokenId first : {10, 20, 30}) Write(first);
  EXPECT_EQ(Complete(), Codes(3, kOk));
}

TEST_F(PageStoreTest, IsNotUsedAnyMoreWhenWhatIsThereCannotBeCleared) {
  Write(10);
  Complete();
  slots_->fail_clear = true;
  store_->Clear();
  Complete();
  EXPECT_FALSE(store_->Write(Page(10), Contents(10), 1));
  EXPECT_FALSE(store_->Contains(Page(10).key));
}

TEST_F(PageStoreTest, WakesOnceForEachTimeThatItIsEmptied) {
  int num_woken = 0;
  store_->OnCompletions([&] { ++num_woken; });
  Write(10);
  Write(20);
  queue_.RunAll();
  EXPECT_EQ(num_woken, 1);
  store_->TakeCompletions();
  Write(30);
  queue_.RunAll();
  EXPECT_EQ(num_woken, 2);
  store_->OnCompletions(nullptr);
  store_->TakeCompletions();
}

TEST(PageStoreOnAThread, WritesAndReadsEveryPage) {
  constexpr int kNumPages = 64;
  IoThread thread;
  PageStore store("the tier", MemorySlots::Create(kNumPages, kPageTokens, kPageBytes).value(), thread, nullptr);
  std::vector<std::vector<std::byte>> pages;
  for (int i = 0; i < kNumPages; ++i) pages.push_back(Contents(i));
  for (int i = 0; i < kNumPages; ++i) ASSERT_TRUE(store.Write(Page(i), pages[i], i));
  thread.Drain();
  EXPECT_EQ(store.TakeCompletions().size(), size_t{kNumPages});
  std::vector<std::vector<std::byte>> read(kNumPages, std::vector<std::byte>(kPageBytes));
  for (int i = 0; i < kNumPages; ++i) ASSERT_TRUE(store.Read(Page(i), read[i], i));
  thread.Drain();
  for (const auto& completion : store.TakeCompletions()) EXPECT_EQ(completion.status, absl::OkStatus());
  EXPECT_EQ(read, pages);
}

TEST(PageStoreRestarted, KnowsWhatItsSlotsHaveAndWhatOfThatIsOldest) {
  ManualQueue queue;
  auto slots = MemorySlots::Create(3, kPageTokens, kPageBytes).value();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(slots->Write(i, Page(i), /*sequence=*/i == 1 ? 5 : 10 + i, Contents(i)), absl::OkStatus());
  }
  PageStore store("the tier", std::move(slots), queue, nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(store.Contains(Page(i).key));
  ASSERT_TRUE(store.Write(Page(9), Contents(9), 9));
  EXPECT_FALSE(store.Contains(Page(1).key));
}

}  // namespace
}  // namespace quire
