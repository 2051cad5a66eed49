#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

GenerateRequest EmbeddingRequest(RequestId id, std::vector<TokenId> prompt) {
  GenerateRequest request;
  request.id = id;
  request.prompt = std::move(prompt);
  request.embed = true;
  return request;
}

void ExpectEmbeddingsOfLoneRequests(EngineHarness& harness) {
  for (const auto& [id, request] : harness.requests) {
    SCOPED_TRACE(id);
    if (!request.embed) continue;
    EXPECT_TRUE(harness.outcomes[id].over);
    EXPECT_EQ(harness.outcomes[id].embedding, harness.model.Embed(request.prompt));
    EXPECT_EQ(harness.outcomes[id].samples[0].tokens, std::vector<TokenId>());
  }
}

TEST(EngineEmbedding, EmbedsAPromptWithoutATokenOfAnswer) {
  EngineHarness harness;
  harness.Submit(EmbeddingRequest(1, Prompt(10)));
  harness.RunToEnd();
  ExpectEmbeddingsOfLoneRequests(harness);
  const Outcome& outcome = harness.outcomes[1];
  EXPECT_EQ(outcome.usage.prompt_tokens, 10);
  EXPECT_EQ(outcome.usage.completion_tokens, 0);
  EXPECT_EQ(outcome.timings.prefill, absl::Milliseconds(5));
  EXPECT_EQ(harness.engine.stats().prompt_tokens_total, 10u);
}

TEST(EngineEmbedding, GivesTheSameInABatchInChunksFromTheCacheAndAfterPreemption) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 24;  // 96 tokens.
  options.max_model_len = 96;
  EngineHarness harness(options);
  for (int i = 0; i < 4; ++i) {
    harness.Submit(EmbeddingRequest(i, Prompt(90, i % 2)));
    harness.Submit(Request(100 + i, Prompt(8, 10 + i), 30));
  }
  harness.RunToEnd();
  ExpectEmbeddingsOfLoneRequests(harness);
  harness.Submit(EmbeddingRequest(50, Prompt(90, 1)));
  harness.RunToEnd();
  ExpectEmbeddingsOfLoneRequests(harness);
  EXPECT_GT(harness.outcomes[50].usage.cached_tokens, 0);
}

TEST(EngineEmbedding, TakesAPromptOfTheModelsWholeLength) {
  EngineHarness harness;
  harness.Submit(EmbeddingRequest(1, Prompt(256)));
  harness.RunToEnd();
  ExpectEmbeddingsOfLoneRequests(harness);
  const absl::Status status = harness.engine.Submit(EmbeddingRequest(2, Prompt(257)), harness.now);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 256 tokens, got 257"));
}

TEST(EngineEmbedding, RefusesWhatOnlyAnAnswerHas) {
  EngineHarness harness;
  GenerateRequest request = EmbeddingRequest(1, Prompt(5));
  request.sampling.n = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(harness.engine.Submit(request, harness.now)));
  request.sampling.n = 1;
  request.sampling.prompt_logprobs = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(harness.engine.Submit(request, harness.now)));
}

TEST(EngineEmbedding, EndsARequestWhoseHiddenStateIsNotFinite) {
  EngineHarness harness;
  harness.runner.PoisonRows([](const LogitRow& row) { return row.embed && row.tokens.size() == 7; });
  harness.Submit(EmbeddingRequest(1, Prompt(7)));
  harness.Submit(EmbeddingRequest(2, Prompt(8)));
  harness.RunToEnd();
  EXPECT_TRUE(absl::IsInternal(harness.outcomes[1].status));
  EXPECT_EQ(harness.outcomes[2].embedding, harness.model.Embed(Prompt(8)));
}

}  // namespace
}  // namespace quire
