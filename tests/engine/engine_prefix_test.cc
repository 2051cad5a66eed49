// What requests gain from pages that others computed, and that they never gain what they should not.
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

TEST(EnginePrefix, ServesARepeatedPromptFromItsPages) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(20), 5));
  harness.RunToEnd();
  harness.Submit(Request(2, Prompt(20), 5));
  const StepOutput step = harness.Step();
  EXPECT_EQ(step.num_scheduled_tokens, 1) << "only the last token's logits are not there";
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 19);
  EXPECT_EQ(harness.engine.stats().cached_tokens_total, 19u);
  harness.engine.ClearPrefixCache();
  harness.Submit(Request(3, Prompt(20), 5));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[3].usage.cached_tokens, 0);
}

TEST(EnginePrefix, ContinuesAConversationWithinAPage) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(9), 10));
  harness.RunToEnd();
  std::vector<TokenId> longer = Prompt(9);
  const std::vector<TokenId>& answer = harness.outcomes[1].samples[0].tokens;
  longer.insert(longer.end(), answer.begin(), answer.end());
  longer.push_back(3);
  harness.Submit(Request(2, longer, 5));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 18) << "all but the last token of the answer was computed";
}

TEST(EnginePrefix, ComputesAPrefixThatArrivesManyTimesAtOnceOnlyOnce) {
  EngineHarness harness;
  for (RequestId id = 1; id <= 6; ++id) {
    std::vector<TokenId> prompt = Prompt(48);
    prompt.push_back(static_cast<TokenId>(id));
    harness.Submit(Request(id, prompt, 3));
  }
  int64_t scheduled = 0;
  while (harness.engine.HasWork()) scheduled += harness.Step().num_scheduled_tokens;
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(scheduled, 48 + 6 * (1 + 2));
  for (RequestId id = 2; id <= 6; ++id) EXPECT_EQ(harness.outcomes[id].usage.cached_tokens, 48);
}

TEST(EnginePrefix, GoesOnWhenTheOneComputingThePrefixIsCancelled) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(120), 3));
  harness.Submit(Request(2, Prompt(120), 3));
  harness.Step();
  EXPECT_EQ(harness.engine.stats().requests_waiting, 1);
  harness.engine.Cancel(1);
  harness.requests.erase(1);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 32) << "what the first had computed by then";
}

TEST(EnginePrefix, SharesNothingBetweenTenants) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(20), 5));
  harness.RunToEnd();
  GenerateRequest other = Request(2, Prompt(20), 5);
  other.cache_salt = 1;
  harness.Submit(other);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 0);
}

TEST(EnginePrefix, ComputesAllOfAPromptWhoseLogProbabilitiesAreWanted) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(20), 5));
  harness.RunToEnd();
  GenerateRequest scored = Request(2, Prompt(20), 5);
  scored.sampling.prompt_logprobs = 0;
  harness.Submit(scored);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 0);
  EXPECT_EQ(harness.outcomes[2].prompt_logprobs.size(), 19u);
}

// The copy of the partly matching page failed with the step: nobody may find its tokens in the destination.
TEST(EnginePrefix, TrustsNoPageThatAFailedStepWasToCopyTo) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(22), 1));
  harness.RunToEnd();
  std::vector<TokenId> branch = Prompt(22);
  branch[21] = 1 + branch[21] % (kVocab - 1);
  branch.resize(30, 2);
  harness.Submit(Request(2, branch, 5));
  harness.runner.FailNextStep(absl::UnavailableError("planned"));
  harness.Step();
  EXPECT_EQ(harness.outcomes[2].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 21) << "it was to copy the sixth page's first token";
  harness.requests.erase(2);
  harness.Submit(Request(3, branch, 5));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

// Logits that are not finite come of what the step wrote.
TEST(EnginePrefix, CachesNothingOfAStepWithLogitsThatAreNotFinite) {
  EngineHarness harness;
  bool poisoned = true;
  harness.runner.PoisonRows([&](const LogitRow&) { return poisoned; });
  harness.Submit(Request(1, Prompt(20), 5));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].status.code(), absl::StatusCode::kInternal);
  harness.requests.erase(1);
  poisoned = false;
  harness.Submit(Request(2, Prompt(20), 5));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.outcomes[2].usage.cached_tokens, 0);
}

TEST(EnginePrefix, ComputesWhatPreemptionEvictedAndNothingElse) {
  EngineOptions options = SmallEngine();
  options.max_num_seqs = 1;
  EngineHarness harness(options);
  harness.Submit(Request(1, Prompt(30, 1), 20));
  for (int i = 0; i < 5; ++i) harness.Step();
  GenerateRequest urgent = Request(2, Prompt(10, 2), 4);
  urgent.priority = -1;
  harness.Submit(urgent);
  int64_t scheduled = 0;
  while (harness.engine.HasWork()) scheduled += harness.Step().num_scheduled_tokens;
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.engine.stats().preemptions_total, 1u);
  EXPECT_EQ(scheduled, (10 + 3) + 15) << "the preempted one found all its pages again";
  EXPECT_EQ(harness.outcomes[1].usage.cached_tokens, 0) << "of its own pages, not of others'";
}

}  // namespace
}  // namespace quire
