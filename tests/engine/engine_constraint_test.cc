// Outputs of a prescribed form: what the engine makes of what a constraint answers.
#include <gtest/gtest.h>

#include <memory>

#include "tests/engine/engine_harness.h"
#include "tests/fakes/fake_constraint.h"

namespace quire {
namespace {

// The fake model follows the constraint, so that a stream is compared with that of a model that serves it alone.
GenerateRequest Constrained(RequestId id, int max_tokens, int complete_after,
                            const std::vector<TokenId>& end_tokens = {kEos}) {
  GenerateRequest request = Request(id, Prompt(10, static_cast<int>(id)), max_tokens);
  request.constraint = std::make_shared<FakeConstraint>(900 + id, kVocab, end_tokens, complete_after);
  return request;
}

// Allows everything; fails where it is told to.
class Failing : public TokenConstraint {
 public:
  Failing(absl::Status mask, absl::Status accept) : mask_(std::move(mask)), accept_(std::move(accept)) {}
  std::unique_ptr<TokenConstraint> Clone() const override { return std::make_unique<Failing>(*this); }
  absl::Status FillMask(std::span<uint32_t> allowed) override {
    std::ranges::fill(allowed, ~uint32_t{0});
    return mask_;
  }
  absl::Status Accept(TokenId) override { return accept_; }
  bool ended() const override { return false; }

 private:
  absl::Status mask_, accept_;
};

TEST(EngineConstraint, EndsWithAnEndTokenWhateverMinTokensAndIgnoreEosSay) {
  EngineHarness harness;
  GenerateRequest request = Constrained(1, 50, 5);
  request.sampling.min_tokens = 40;
  harness.Submit(request);
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  const Stream& stream = harness.outcomes[1].samples[0];
  EXPECT_EQ(stream.tokens.size(), 6u);
  EXPECT_EQ(stream.tokens.back(), kEos);
  EXPECT_EQ(stream.finish_reason, FinishReason::kStop);
}

TEST(EngineConstraint, EndsWithoutOneWhereTheModelHasNone) {
  EngineOptions options = SmallEngine();
  options.eos_token_ids = {};
  EngineHarness harness(options);
  harness.Submit(Constrained(1, 50, 5, {}));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].samples[0].tokens.size(), 5u);
  EXPECT_EQ(harness.outcomes[1].samples[0].finish_reason, FinishReason::kStop);
}

TEST(EngineConstraint, IsCutShortByMaxTokens) {
  EngineHarness harness;
  harness.Submit(Constrained(1, 2, 100));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].samples[0].finish_reason, FinishReason::kLength);
}

TEST(EngineConstraint, SamplesPartWithStatesOfTheirOwn) {
  EngineHarness harness;
  GenerateRequest request = Constrained(1, 30, 30);
  request.sampling.n = 4;
  harness.Submit(request);
  harness.Submit(Constrained(2, 30, 20));
  harness.Submit(Request(3, Prompt(10, 3), 30));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_NE(harness.outcomes[1].samples[0].tokens, harness.outcomes[1].samples[1].tokens);
}

TEST(EngineConstraint, StaysWithASequenceThatIsPreempted) {
  EngineOptions options = SmallEngine();
  options.blocks.num_blocks = 12;
  EngineHarness harness(options);
  for (RequestId id = 1; id <= 6; ++id) harness.Submit(Constrained(id, 30, 30));
  harness.RunToEnd();
  harness.ExpectStreamsOfLoneRequests();
  EXPECT_GT(harness.engine.stats().preemptions_total, 0u);
}

TEST(EngineConstraint, FailsItsOwnRequestAlone) {
  EngineHarness harness;
  GenerateRequest mask = Request(1, Prompt(10, 1), 30), accept = Request(2, Prompt(10, 2), 30);
  mask.constraint = std::make_shared<Failing>(absl::ResourceExhaustedError("mask"), absl::OkStatus());
  accept.constraint = std::make_shared<Failing>(absl::OkStatus(), absl::InternalError("accept"));
  accept.sampling.n = 3;
  harness.engine.Submit(mask, harness.now).IgnoreError();
  harness.engine.Submit(accept, harness.now).IgnoreError();
  harness.Submit(Request(3, Prompt(10, 3), 30));
  harness.RunToEnd();
  EXPECT_EQ(harness.outcomes[1].status, absl::ResourceExhaustedError("mask"));
  EXPECT_EQ(harness.outcomes[2].status, absl::InternalError("accept"));
  EXPECT_TRUE(harness.outcomes[2].samples[0].tokens.empty());
  harness.ExpectStreamsOfLoneRequests();
}

}  // namespace
}  // namespace quire
