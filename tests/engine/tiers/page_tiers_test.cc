// The engine with tiers outside its pool.
#include <gtest/gtest.h>

#include "block_manager/tiers/memory_slots.h"
#include "tests/block_manager/tiers/tier_fixture.h"
#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

constexpr int kBlock = 4;

// A file that outlives engines, and what can happen to it.
class SharedSlots : public PageSlots {
 public:
  explicit SharedSlots(MemorySlots& slots) : slots_(slots) {}
  int num_slots() const override { return slots_.num_slots(); }
  int64_t page_bytes() const override { return slots_.page_bytes(); }
  std::vector<FoundPage> FindPages() override { return slots_.FindPages(); }
  absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                     std::span<const std::byte> bytes) override {
    return slots_.Write(slot, page, sequence, bytes);
  }
  absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) override {
    return slots_.Read(slot, page, sequence, bytes);
  }
  absl::Status Erase(SlotId slot) override { return slots_.Erase(slot); }
  absl::Status Clear() override { return slots_.Clear(); }

 private:
  MemorySlots& slots_;
};

class PageTiersTest : public testing::Test {
 protected:
  static constexpr int kNumSlots = 64;

  // An engine of its own over the same file, as after a restart.
  struct Server {
    Server(MemorySlots& slots, ManualQueue& queue, int num_blocks, int num_staging)
        : store("the file", std::make_unique<SharedSlots>(slots), queue, nullptr), harness(Options(num_blocks), [&](auto& runner) {
            TierOptions tiers;
            tiers.stores[static_cast<int>(KvTier::kDisk)] = &store;
            tiers.staging = runner.AllocateHostPages(num_staging).value();
            return tiers;
          }) {}
    static EngineOptions Options(int num_blocks) {
      EngineOptions options = SmallEngine();
      options.blocks.num_blocks = num_blocks;
      return options;
    }
    PageStore store;
    EngineHarness harness;
  };

  PageTiersTest() {
    const FakeModelRunner runner(FakeModel(kVocab), 1, kBlock);
    slots_ = MemorySlots::Create(kNumSlots, kBlock, runner.page_bytes()).value();
  }

  EngineHarness& Start(int num_blocks = 64, int num_staging = 64) {
    server_.reset();
    server_ = std::make_unique<Server>(*slots_, queue_, num_blocks, num_staging);
    return server_->harness;
  }
  // Steps until the engine has nothing more to do; what is to be written or read is, between any two steps.
  void RunToEnd() {
    EngineHarness& harness = server_->harness;
    for (int step = 0; harness.engine.HasWork() || queue_.size() > 0; ++step) {
      ASSERT_LT(step, 10000);
      harness.Step();
      queue_.RunAll();
    }
  }
  Usage Run(RequestId id, const std::vector<TokenId>& prompt, int max_tokens = 4) {
    EngineHarness& harness = server_->harness;
    harness.Submit(Request(id, prompt, max_tokens));
    RunToEnd();
    harness.ExpectStreamsOfLoneRequests();
    return harness.outcomes[id].usage;
  }
  uint64_t PagesRead() const { return server_->store.stats().pages_read; }

  ManualQueue queue_;
  std::unique_ptr<MemorySlots> slots_;
  std::unique_ptr<Server> server_;
};

TEST_F(PageTiersTest, AConversationGoesOnAfterARestart) {
  Start();
  EXPECT_EQ(Run(1, Prompt(41)).cached_tokens, 0);
  EXPECT_EQ(server_->store.stats().pages_written, 11u);
  Start();
  const Usage usage = Run(1, Prompt(41));
  EXPECT_EQ(usage.cached_tokens, 40);
  EXPECT_EQ(usage.cached_tokens_disk, 40);
  EXPECT_EQ(usage.cached_tokens_host, 0);
  EXPECT_EQ(PagesRead(), 10u);
}

TEST_F(PageTiersTest, WhatWasFetchedIsThenInThePool) {
  Start();
  Run(1, Prompt(41));
  Start();
  Run(1, Prompt(41));
  const Usage usage = Run(2, Prompt(41));
  EXPECT_EQ(usage.cached_tokens, 40);
  EXPECT_EQ(usage.cached_tokens_disk, 0);
  EXPECT_EQ(PagesRead(), 10u);
}

TEST_F(PageTiersTest, EvictedPagesComeBack) {
  Start(/*num_blocks=*/16);
  Run(1, Prompt(41));
  Run(2, Prompt(50, /*seed=*/1));
  const Usage usage = Run(3, Prompt(41));
  EXPECT_EQ(usage.cached_tokens, 40);
  EXPECT_GT(usage.cached_tokens_disk, 30);
}

TEST_F(PageTiersTest, APreemptedSequenceIsFetchedNotComputed) {
  EngineHarness& harness = Start(/*num_blocks=*/16);
  for (RequestId id = 1; id <= 3; ++id) harness.Submit(Request(id, Prompt(12, static_cast<int>(id)), 40));
  RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
  EXPECT_GT(PagesRead(), 0u);
}

TEST_F(PageTiersTest, ALongPrefixComesInSeveralFetches) {
  Start();
  Run(1, Prompt(101));
  Start(/*num_blocks=*/64, /*num_staging=*/8);
  EXPECT_EQ(Run(1, Prompt(101)).cached_tokens_disk, 100);
}

TEST_F(PageTiersTest, ADamagedPageEndsThePrefixAndIsComputed) {
  Start();
  Run(1, Prompt(41));
  PageKey fifth = RootKey(0);
  const std::vector<TokenId> prompt = Prompt(41);
  for (int i = 0; i < 5; ++i) fifth = NextKey(fifth, std::span(prompt).subspan(i * kBlock, kBlock));
  const std::vector<FoundPage> pages = slots_->FindPages();
  slots_->Raw(std::ranges::find(pages, fifth, [](const FoundPage& found) { return found.page.key; })->slot).back() ^= std::byte{1};
  Start();
  EXPECT_EQ(Run(1, Prompt(41)).cached_tokens, 16);
  EXPECT_EQ(server_->store.stats().pages_refused, 1u);
}

TEST_F(PageTiersTest, NobodyWaitsLongForAFetchThatIsLost) {
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  harness.Submit(Request(1, Prompt(41), 4));
  harness.Step();
  EXPECT_TRUE(harness.engine.AwaitsTier());
  harness.Submit(Request(2, Prompt(41), 4));
  harness.Submit(Request(3, Prompt(20, /*seed=*/1), 4));
  EXPECT_GT(harness.Step().num_scheduled_tokens, 0) << "who needs no fetch does not wait for one";
  harness.now += absl::Seconds(3);
  for (int i = 0; i < 50; ++i) harness.Step();
  harness.ExpectStreamsOfLoneRequests();
  queue_.RunAll();
  RunToEnd();
}

TEST_F(PageTiersTest, ARequestThatIsCancelledWhileItWaitsLeavesTheFetchToOthers) {
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  harness.Submit(Request(1, Prompt(41), 4));
  harness.Step();
  ASSERT_TRUE(harness.engine.Cancel(1));
  harness.requests.erase(1);
  RunToEnd();
  EXPECT_EQ(Run(2, Prompt(41)).cached_tokens, 40);
}

TEST_F(PageTiersTest, TwoRequestsShareAFetch) {
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  for (RequestId id = 1; id <= 2; ++id) harness.Submit(Request(id, Prompt(41), 4));
  RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(PagesRead(), 10u);
  EXPECT_EQ(harness.outcomes[1].usage.cached_tokens_disk + harness.outcomes[2].usage.cached_tokens_disk, 40);
}

TEST_F(PageTiersTest, AClearedCacheIsClearedEverywhereAndForGood) {
  EngineHarness& harness = Start();
  Run(1, Prompt(41));
  harness.Submit(Request(2, Prompt(61, /*seed=*/1), 4));
  harness.Step();
  harness.engine.ClearPrefixCache();
  RunToEnd();
  EXPECT_EQ(Run(3, Prompt(41)).cached_tokens, 0);
  harness.engine.ClearPrefixCache();
  RunToEnd();
  Start();
  EXPECT_EQ(Run(1, Prompt(41)).cached_tokens, 0);
}

TEST_F(PageTiersTest, AProbeTellsWhichTierHasWhat) {
  constexpr int kDisk = static_cast<int>(KvTier::kDisk);
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  const CachedTokens below = harness.engine.Probe(Prompt(41), 0);
  EXPECT_EQ(below.pool, 0);
  EXPECT_EQ(below.tiers[kDisk], 40);
  EXPECT_EQ(below.total(), 40);
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 99).total(), 0);
  Run(1, Prompt(21));
  // The pool has five pages and a token of the sixth.
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 0).pool, 21);
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 0).tiers[kDisk], 19);
}

TEST_F(PageTiersTest, EvictingEverythingEmptiesTheTiersToo) {
  EngineHarness& harness = Start();
  Run(1, Prompt(41));
  EXPECT_GT(harness.engine.EvictAll(), 0);
  RunToEnd();
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 0).total(), 0);
}

TEST_F(PageTiersTest, EvictingAPrefixReachesTheTiersAndLeavesTheRest) {
  Start();
  Run(1, Prompt(41));
  Run(2, Prompt(41, 1));
  EngineHarness& harness = Start();  // Nothing is in the pool.
  EXPECT_EQ(harness.engine.EvictPrefix(Prompt(18), 0), 0);
  RunToEnd();
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 0).total(), 0);
  EXPECT_EQ(harness.engine.Probe(Prompt(41, 1), 0).total(), 40);
  EngineHarness& next = Start();
  EXPECT_EQ(next.engine.Probe(Prompt(41), 0).total(), 0) << "not after a restart either";
  EXPECT_EQ(Run(1, Prompt(41, 1)).cached_tokens_disk, 40);
}

TEST_F(PageTiersTest, EvictingATenantsPagesReachesTheTiersAndLeavesOthers) {
  EngineHarness& harness = Start();
  for (RequestId id : {1, 2}) {
    GenerateRequest request = Request(id, Prompt(41), 4);
    request.cache_salt = id;
    harness.Submit(request);
  }
  RunToEnd();
  EXPECT_GT(harness.engine.EvictOwner(1), 0);
  RunToEnd();
  EXPECT_EQ(harness.engine.Probe(Prompt(41), 1).total(), 0);
  EXPECT_EQ(Start().engine.Probe(Prompt(41), 2).total(), 40);
}

TEST_F(PageTiersTest, WhatIsEvictedWhileItIsFetchedDoesNotComeIn) {
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  harness.Submit(Request(1, Prompt(41), 4));
  harness.Step();
  ASSERT_GT(queue_.size(), 0);
  harness.engine.EvictPrefix(Prompt(18), 0);
  RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[1].usage.cached_tokens, 0);
}

TEST_F(PageTiersTest, NoSaltSeesPagesOfAnother) {
  Start();
  Run(1, Prompt(41));
  EngineHarness& harness = Start();
  GenerateRequest request = Request(1, Prompt(41), 4);
  request.cache_salt = 99;
  harness.Submit(request);
  RunToEnd();
  EXPECT_EQ(harness.outcomes[1].usage.cached_tokens, 0);
}

TEST_F(PageTiersTest, PagesBeyondWhatCanBeStagedAreSavedInTheirTurn) {
  Start(/*num_blocks=*/64, /*num_staging=*/2);
  Run(1, Prompt(101));
  EXPECT_EQ(server_->store.stats().pages_written, 26u);
}

}  // namespace
}  // namespace quire
