// Steps that are given up for a tenant that has had less, and prompts that step aside for its.
#include <gtest/gtest.h>

#include "tests/engine/engine_harness.h"

namespace quire {
namespace {

constexpr uint64_t kFlood = 1, kQuiet = 2;

GenerateRequest Of(uint64_t tenant, GenerateRequest request) {
  request.tenant.id = request.cache_salt = tenant;
  return request;
}

class EngineGivesWay : public ::testing::Test {
 protected:
  EngineGivesWay() { harness_.runner.RunAtLaunch(); }

  void SubmitFlood(int num_requests, int prompt = 20, int max_tokens = 40) {
    for (int i = 0; i < num_requests; ++i) {
      const RequestId id = 100 + static_cast<RequestId>(num_flood_++);
      harness_.Submit(Of(kFlood, Request(id, Prompt(prompt, static_cast<int>(id)), max_tokens)));
    }
  }
  // A step while which a request of `tenant` comes.
  StepOutput StepBeside(uint64_t tenant) {
    return harness_.Step([&] { return harness_.engine.GivesWayTo({.id = tenant}); });
  }
  uint64_t num_given_up() { return harness_.engine.stats().steps_given_up_total; }

  EngineHarness harness_{OneStepAtATime()};
  int num_flood_ = 0;
};

TEST_F(EngineGivesWay, GivesAStepUpForATenantThatHasHadLess) {
  SubmitFlood(6);
  for (int i = 0; i < 12; ++i) harness_.Step();
  const uint64_t before = harness_.engine.stats().completion_tokens_total;
  const StepOutput step = StepBeside(kQuiet);
  EXPECT_TRUE(step.given_up);
  EXPECT_EQ(step.num_scheduled_tokens, 0);
  EXPECT_TRUE(step.outputs.empty());
  EXPECT_EQ(harness_.engine.stats().completion_tokens_total, before);
  harness_.Submit(Of(kQuiet, Request(1, Prompt(10, 50), 3)));
  harness_.Step();
  EXPECT_EQ(harness_.outcomes[1].samples[0].tokens.size(), 1u) << "whom the step was given up for is in the next one";
  harness_.RunToEnd();
  harness_.ExpectStreamsOfLoneRequests();
  EXPECT_EQ(num_given_up(), 1u);
}

TEST_F(EngineGivesWay, KeepsAStepForATenantThatHasSomethingInItOrWaits) {
  SubmitFlood(12);
  for (int i = 0; i < 12; ++i) harness_.Step();
  EXPECT_FALSE(StepBeside(kFlood).given_up);
  harness_.Submit(Of(kQuiet, Request(1, Prompt(10, 50), 30)));
  harness_.Step();
  EXPECT_FALSE(StepBeside(kQuiet).given_up);
  EXPECT_FALSE(StepBeside(3).given_up) << "the quiet one's part in it would be lost, too";
  harness_.RunToEnd();
  harness_.ExpectStreamsOfLoneRequests();
}

TEST_F(EngineGivesWay, LosesLittleHoweverOftenSomebodyComes) {
  SubmitFlood(8, 20, 60);
  int num_steps = 0;
  for (; harness_.engine.HasWork(); ++num_steps) {
    ASSERT_LT(num_steps, 10000) << "the engine makes no progress";
    StepBeside(kQuiet);
  }
  harness_.ExpectStreamsOfLoneRequests();
  EXPECT_GT(num_given_up(), 5u);
  EXPECT_LT(num_given_up(), static_cast<uint64_t>(num_steps) / 4);
}

TEST_F(EngineGivesWay, ComputesCopiesOfPagesOnceThoughTheStepThatMadeThemIsGivenUp) {
  SubmitFlood(1, 30, 4);
  harness_.RunToEnd();
  SubmitFlood(4);
  for (int i = 0; i < 12; ++i) harness_.Step();
  // Goes on in the middle of a page of the first one's.
  GenerateRequest again = Of(kFlood, Request(1, Prompt(30, 100), 4));
  again.prompt.resize(27);
  again.priority = -1;
  harness_.Submit(again);
  EXPECT_TRUE(StepBeside(kQuiet).given_up);
  harness_.RunToEnd();
  EXPECT_GT(harness_.outcomes[1].usage.cached_tokens, 24) << "there was a copy";
  harness_.ExpectStreamsOfLoneRequests();
}

TEST_F(EngineGivesWay, ComputesPromptsOfOneThatHasHadMoreInStepsOfTheirOwn) {
  SubmitFlood(3, 8, 60);
  for (int i = 0; i < 20; ++i) harness_.Step();
  SubmitFlood(1, 60, 2);
  harness_.Step();
  harness_.Submit(Of(kQuiet, Request(1, Prompt(12, 50), 2)));
  const StepOutput step = harness_.Step();
  EXPECT_EQ(harness_.outcomes[1].samples[0].tokens.size(), 1u);
  EXPECT_EQ(step.num_scheduled_tokens, 3 + 12) << "decodes of the one, the prompt of the other";
  EXPECT_GT(harness_.Step().num_scheduled_tokens, 3 + 1) << "the long prompt goes on";
  harness_.RunToEnd();
  harness_.ExpectStreamsOfLoneRequests();
}

}  // namespace
}  // namespace quire
