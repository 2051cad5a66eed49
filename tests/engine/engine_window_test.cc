// Sequences that outgrow what is kept of them.
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

// Pages of 4 tokens: one of sinks, four of the most recent tokens, dropped two at a time.
EngineOptions WindowedEngine(int num_blocks = 64) {
  EngineOptions options = SmallEngine();
  options.max_model_len = 5000;
  options.max_num_batched_tokens = 40;
  options.blocks.num_blocks = num_blocks;
  options.kv_window = {.sink_tokens = 4, .recent_tokens = 16, .stride_tokens = 8};
  return options;
}

TEST(EngineWindow, AStreamGoesOnForeverOnThePagesOfItsWindow) {
  EngineHarness harness(WindowedEngine(/*num_blocks=*/5));
  harness.Submit(Request(1, Prompt(7), 3000));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(harness.engine.stats().preemptions_total, 0u);
}

TEST(EngineWindow, WhatATokenSeesDependsOnItsPositionAlone) {
  for (int num_batched_tokens : {12, 13, 40, 500}) {
    SCOPED_TRACE(num_batched_tokens);
    EngineOptions options = WindowedEngine();
    options.max_num_batched_tokens = num_batched_tokens;
    EngineHarness harness(options);
    for (int i = 0; i < 4; ++i) harness.Submit(Request(i, Prompt(50 * i + 1, i), 60));
    harness.RunToEnd();
    harness.ExpectStreamsOfLoneRequests();
  }
}

TEST(EngineWindow, DiffersFromKeepingEverything) {
  const EngineHarness windowed(WindowedEngine()), whole;
  const SamplingParams params = Request(1, {}, 40).sampling;
  EXPECT_NE(windowed.model.Generate(Prompt(10), params, 0), whole.model.Generate(Prompt(10), params, 0));
}

TEST(EngineWindow, PreemptedSequencesGoOnWithTheSameTokens) {
  EngineHarness harness(WindowedEngine(/*num_blocks=*/12));
  for (int i = 0; i < 6; ++i) harness.Submit(Request(i, Prompt(9, i), 80));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
}

TEST(EngineWindow, SamplesShareAPromptThatIsLongerThanTheWindow) {
  EngineHarness harness(WindowedEngine());
  GenerateRequest request = Request(1, Prompt(30), 50);
  request.sampling.n = 3;
  harness.Submit(request);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
}

TEST(EngineWindow, ALongPromptsBeginningIsStillShared) {
  EngineHarness harness(WindowedEngine());
  harness.Submit(Request(1, Prompt(100), 5));
  harness.RunToEnd();
  harness.Submit(Request(2, Prompt(100), 5));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.outcomes[2].usage.cached_tokens, 0);
}

TEST(EngineWindow, ScoresPromptsAsTheWindowSeesThem) {
  EngineHarness harness(WindowedEngine());
  GenerateRequest request = Request(1, Prompt(120), 2);
  request.sampling.prompt_logprobs = 0;
  harness.Submit(request);
  harness.RunToEnd();
  const std::vector<float> expected = harness.model.ScorePrompt(request.prompt);
  const auto& scores = harness.outcomes[1].prompt_logprobs;
  ASSERT_EQ(scores.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(scores[i].logprob, expected[i]) << i;
}

TEST(EngineWindow, AWindowThatDoesNotFitIsRefused) {
  EXPECT_TRUE(Engine::ValidateOptions(WindowedEngine(5)).ok());
  EXPECT_FALSE(Engine::ValidateOptions(WindowedEngine(4)).ok());
  EngineOptions options = WindowedEngine();
  options.max_num_batched_tokens = options.max_num_seqs + 3;  // No room for the sinks.
  EXPECT_FALSE(Engine::ValidateOptions(options).ok());
}

}  // namespace
}  // namespace quire
