// Steps that are launched while the one before them is under way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_harness.h"
#include "tests/fakes/fake_constraint.h"

namespace quire {
namespace {

// A request that ends by a token, whenever its model comes to one.
GenerateRequest EndingByToken(RequestId id, std::vector<TokenId> prompt) {
  GenerateRequest request = Request(id, std::move(prompt), 60);
  request.sampling.ignore_eos = false;
  request.sampling.stop_token_ids = {7, 19, 40};
  return request;
}

std::map<RequestId, Outcome> RunAtDepth(int depth, bool at_launch, EngineStats& stats) {
  EngineOptions options = SmallEngine();
  options.pipeline_depth = depth;
  EngineHarness harness(options);
  if (at_launch) harness.runner.RunAtLaunch();
  for (int i = 0; i < 20; ++i) {
    GenerateRequest request = i % 3 == 0 ? Request(i, Prompt(3 + 5 * i, i), 4 + 9 * (i % 4))
                                         : EndingByToken(i, Prompt(3 + 5 * i, i % 5));
    if (i % 7 == 0) request.sampling.n = 3;
    if (i % 4 == 0) request.sampling.min_tokens = 3;
    if (i % 5 == 0) request.sampling.logprobs = 0;
    harness.Submit(request);
    if (i % 2 == 0) harness.Step();
  }
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  stats = harness.engine.stats();
  return harness.outcomes;
}

TEST(EnginePipeline, GivesTheSameTokensAtAnyDepth) {
  EngineStats plain_stats, stats;
  const auto plain = RunAtDepth(1, false, plain_stats);
  EXPECT_EQ(plain_stats.steps_ahead_total, 0u);
  for (const bool at_launch : {false, true}) {
    const auto ahead = RunAtDepth(2, at_launch, stats);
    EXPECT_GT(stats.steps_ahead_total, stats.steps_total / 3);
    for (const auto& [id, expected] : plain) {
      SCOPED_TRACE(id);
      const Outcome& outcome = ahead.at(id);
      EXPECT_EQ(outcome.usage.completion_tokens, expected.usage.completion_tokens);
      for (const auto& [index, sample] : expected.samples) {
        EXPECT_EQ(outcome.samples.at(index).tokens, sample.tokens);
        EXPECT_EQ(outcome.samples.at(index).finish_reason, sample.finish_reason);
        EXPECT_EQ(outcome.samples.at(index).logprobs.size(), sample.logprobs.size());
      }
    }
  }
}

TEST(EnginePipeline, LaunchesAllButTheFirstStepAheadWhereRequestsOnlyGoOn) {
  EngineHarness harness;
  for (int i = 0; i < 4; ++i) harness.Submit(Request(i, Prompt(5, i), 50));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.engine.stats().steps_total, 50u);
  EXPECT_EQ(harness.engine.stats().steps_ahead_total, 49u) << "who ends by its length is left out, not computed in vain";
}

TEST(EnginePipeline, WaitsForTheTokensThatTheHostHasToSee) {
  const std::vector<std::function<void(GenerateRequest&)>> wishes = {
      [](GenerateRequest& request) { request.sampling.repetition_penalty = 1.5f; },
      [](GenerateRequest& request) { request.sampling.presence_penalty = 0.5f; },
      [](GenerateRequest& request) { request.sampling.frequency_penalty = 0.5f; },
      [](GenerateRequest& request) { request.sampling.logprobs = 2; },
      [](GenerateRequest& request) {
        request.constraint = std::make_shared<FakeConstraint>(901, kVocab, std::vector<TokenId>{kEos}, 5);
      }};
  for (size_t i = 0; i < wishes.size(); ++i) {
    SCOPED_TRACE(i);
    EngineHarness harness;
    GenerateRequest request = Request(1, Prompt(5), 20);
    wishes[i](request);
    harness.Submit(request);
    harness.Submit(Request(2, Prompt(6, 2), 30));
    while (!harness.outcomes[1].over) harness.Step();
    EXPECT_EQ(harness.engine.stats().steps_ahead_total, 0u);
    harness.RunToEnd();
    EXPECT_GT(harness.engine.stats().steps_ahead_total, 0u) << "the other one is alone";
    harness.ExpectStreamsOfLoneRequests();
  }
}

TEST(EnginePipeline, LetsWhoComesWaitForOneStepMoreAtMost) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(4, 1), 40));
  harness.Step();
  harness.Step();
  harness.Submit(Request(2, Prompt(8, 2), 4));
  harness.Step();  // Commits the step that was under way.
  harness.Step();
  EXPECT_EQ(harness.outcomes[2].samples[0].tokens.size(), 1u);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(EnginePipeline, GoesAheadWhileNobodyWhoWaitsFindsASeatOrPages) {
  for (const bool seats_lack : {true, false}) {
    EngineOptions options = SmallEngine();
    if (seats_lack) options.max_num_seqs = 2;
    if (!seats_lack) options.blocks.num_blocks = 30;
    EngineHarness harness(options);
    for (int i = 0; i < 3; ++i) harness.Submit(Request(i, Prompt(40, i), 20));
    harness.RunToEnd();
    harness.ExpectStreamsOfLoneRequests();
    EXPECT_EQ(harness.engine.stats().preemptions_total, 0u);
    EXPECT_GT(harness.engine.stats().steps_ahead_total, harness.engine.stats().steps_total / 2);
  }
}

TEST(EnginePipeline, FreesPagesAtOnceWhenARequestInTheStepUnderWayIsCancelled) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(10, 1), 40));
  harness.Submit(Request(2, Prompt(10, 2), 40));
  harness.Step();
  EXPECT_TRUE(harness.engine.Cancel(1));
  EXPECT_TRUE(harness.engine.Cancel(2));
  EXPECT_EQ(harness.engine.stats().blocks.used, 0);
  harness.engine.CheckInvariants();
  EXPECT_TRUE(harness.engine.HasWork());
  // Whoever comes next gets their pages.
  harness.engine.ClearPrefixCache();
  harness.requests.clear();
  for (int i = 3; i < 8; ++i) harness.Submit(Request(i, Prompt(30, i), 10));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(EnginePipeline, DropsWhatIsComputedForASampleThatEndsMeanwhile) {
  EngineHarness harness;
  GenerateRequest request = Request(1, Prompt(10, 1), 40);
  request.sampling.n = 2;
  harness.Submit(request);
  harness.Step();
  harness.Step();
  EXPECT_TRUE(harness.engine.FinishSample(1, 0));
  const size_t num_tokens = harness.outcomes[1].samples[0].tokens.size();
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), num_tokens);
  EXPECT_EQ(harness.outcomes[1].samples[1].tokens, harness.model.Generate(request.prompt, request.sampling, 1));
}

TEST(EnginePipeline, ForgetsTheStepBehindOneThatFailed) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(10, 1), 20));
  harness.Submit(Request(2, Prompt(10, 2), 20));
  harness.Step();
  harness.runner.FailNextStep(absl::UnavailableError("the device is gone"));
  const StepOutput step = harness.Step();
  EXPECT_TRUE(absl::IsUnavailable(step.model_status));
  for (RequestId id : {1, 2}) EXPECT_TRUE(absl::IsUnavailable(harness.outcomes[id].status));
  EXPECT_EQ(harness.engine.stats().blocks.used, 0);
  EXPECT_FALSE(harness.engine.HasWork());
  harness.requests.clear();
  harness.Submit(Request(4, Prompt(12, 1), 20));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(EnginePipeline, WaitsForTheStepUnderWayWhenItIsGivenUp) {
  EngineHarness harness;
  harness.Submit(Request(1, Prompt(10, 1), 20));
  harness.Step();
  EXPECT_EQ(harness.runner.num_steps(), 2);
}

}  // namespace
}  // namespace quire
