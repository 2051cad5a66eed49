// Leases through the engine: taken by requests at their end, ended by the clock, and the room that they leave.
#include <gmock/gmock.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

// Enough for one sequence of 32 tokens, and as much again.
EngineOptions TinyPool() {
  EngineOptions options = SmallEngine();
  options.blocks = {.num_blocks = 16, .block_size = 4};
  options.max_model_len = 32;
  return options;
}

GenerateRequest LeasingRequest(RequestId id, std::vector<TokenId> prompt, int max_tokens, LeaseRequest lease) {
  GenerateRequest request = Request(id, std::move(prompt), max_tokens);
  request.lease = lease;
  return request;
}

// Runs what there is, and gives the lease that request 1 got.
absl::StatusOr<Lease> RunForLease(EngineHarness& harness) {
  absl::StatusOr<Lease> lease = absl::NotFoundError("no output with a lease");
  while (harness.engine.HasWork()) {
    for (const SequenceOutput& output : harness.Step().outputs) {
      if (output.lease) lease = *output.lease;
    }
  }
  return lease;
}

TEST(EngineLeases, KeepWhatARequestHasComputed) {
  EngineHarness harness(TinyPool());
  harness.Submit(LeasingRequest(1, Prompt(9), 3, {.kind = LeaseKind::kPinned}));
  const absl::StatusOr<Lease> lease = RunForLease(harness);
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(lease->num_tokens, 11);  // The last token has not been computed.
  EXPECT_EQ(harness.engine.stats().leases, 1);
  EXPECT_EQ(harness.engine.stats().blocks.pinned, 3);
}

TEST(EngineLeases, AreHitsHoweverMuchComesBetween) {
  EngineHarness harness(TinyPool());
  std::vector<TokenId> history = Prompt(9);
  harness.Submit(LeasingRequest(1, history, 6, {.kind = LeaseKind::kPinned}));
  ASSERT_TRUE(RunForLease(harness).ok());
  const std::vector<TokenId>& answer = harness.outcomes[1].samples[0].tokens;
  history.insert(history.end(), answer.begin(), answer.end());
  for (RequestId id = 2; id < 12; ++id) harness.Submit(Request(id, Prompt(20, static_cast<int>(id)), 12));
  while (harness.engine.HasWork()) harness.Step();
  history.push_back(1);
  harness.Submit(Request(12, history, 2));
  while (harness.engine.HasWork()) harness.Step();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[12].usage.cached_tokens, 14);
}

TEST(EngineLeases, AnEmbeddingComputesWhatIsToBePinned) {
  EngineHarness harness(TinyPool());
  GenerateRequest request = LeasingRequest(1, Prompt(10), 1, {});
  request.embed = true;
  harness.Submit(request);
  const absl::StatusOr<Lease> lease = RunForLease(harness);
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(lease->num_tokens, 10);
}

TEST(EngineLeases, EndWhenTheirTimeIsOver) {
  EngineHarness harness(TinyPool());
  harness.Submit(LeasingRequest(1, Prompt(9), 1, {.ttl = absl::Seconds(5)}));
  ASSERT_TRUE(RunForLease(harness).ok());
  harness.now += absl::Seconds(4);
  EXPECT_EQ(harness.engine.ListLeases(0, 10, harness.now).size(), 1u);
  // A clock that was set back does not lengthen them.
  harness.now += absl::Seconds(1);
  EXPECT_TRUE(harness.engine.ListLeases(0, 10, harness.now).empty());
  EXPECT_EQ(harness.engine.stats().blocks.used, 0);
}

TEST(EngineLeases, LeaveRoomForTheLongestSequence) {
  EngineOptions options = TinyPool();
  options.max_pinned_share = 1;
  EngineHarness harness(options);
  harness.Submit(LeasingRequest(1, Prompt(28), 4, {.kind = LeaseKind::kPinned}));
  ASSERT_TRUE(RunForLease(harness).ok());
  harness.Submit(LeasingRequest(2, Prompt(4, 1), 1, {.kind = LeaseKind::kPinned}));
  const absl::StatusOr<Lease> refused = RunForLease(harness);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("may hold 8 of 16"));
  harness.Submit(Request(3, Prompt(31, 2), 1));
  while (harness.engine.HasWork()) harness.Step();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(EngineLeases, GiveWayBeforeAnybodyIsPreempted) {
  EngineHarness harness(TinyPool());
  harness.Submit(LeasingRequest(1, Prompt(28), 4, {.priority = 9}));
  ASSERT_TRUE(RunForLease(harness).ok());
  harness.Submit(Request(2, Prompt(16, 1), 16));
  harness.Submit(Request(3, Prompt(16, 2), 16));
  while (harness.engine.HasWork()) harness.Step();
  EXPECT_EQ(harness.engine.stats().preemptions_total, 0u);
  EXPECT_EQ(harness.engine.stats().leases, 0);
}

TEST(EngineLeases, OfATenantAreRefusedByTheNameOfItsLimit) {
  EngineHarness harness(TinyPool());
  harness.Submit(LeasingRequest(1, Prompt(9), 1, {.limits = {.max_leases = 1}}));
  ASSERT_TRUE(RunForLease(harness).ok());
  harness.Submit(LeasingRequest(2, Prompt(9, 1), 1, {.limits = {.max_leases = 1}}));
  const absl::StatusOr<Lease> second = RunForLease(harness);
  EXPECT_TRUE(absl::IsResourceExhausted(second.status())) << second.status();
  EXPECT_THAT(second.status().message(), HasSubstr("has 1 leases, as many as it may have (max_leases)"));
  harness.Submit(
      LeasingRequest(3, Prompt(9, 1), 1, {.kind = LeaseKind::kPinned, .limits = {.max_pinned_blocks = 2}}));
  const absl::StatusOr<Lease> pinned = RunForLease(harness);
  EXPECT_TRUE(absl::IsResourceExhausted(pinned.status())) << pinned.status();
  EXPECT_THAT(pinned.status().message(), HasSubstr("may hold 2 of 16 pages (max_pinned_share)"));
}

TEST(EngineLeases, AreRefusedWithTheReason) {
  EngineHarness harness(TinyPool());
  EXPECT_TRUE(absl::IsNotFound(harness.engine.Pin(Prompt(8), 0, {}, harness.now).status()));
  EXPECT_TRUE(absl::IsNotFound(harness.engine.Unpin(0, 1, harness.now)));
  EngineOptions uncached = TinyPool();
  uncached.blocks.enable_prefix_caching = false;
  EngineHarness without(uncached);
  EXPECT_TRUE(absl::IsFailedPrecondition(without.engine.Pin(Prompt(8), 0, {}, without.now).status()));
}

}  // namespace
}  // namespace quire
