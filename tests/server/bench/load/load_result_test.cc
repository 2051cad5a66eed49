#include "server/bench/load/load_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

LoadRecord Completed(double intended_s, double sent_s, std::vector<double> message_s, int output_tokens) {
  LoadRecord record;
  record.intended_s = intended_s;
  record.sent_s = sent_s;
  record.end_s = message_s.back();
  record.message_s = std::move(message_s);
  record.output_tokens = output_tokens;
  record.usage = {.prompt_tokens = 10, .cached_tokens = 4, .completion_tokens = output_tokens};
  return record;
}

LoadRecord Failed(const std::string& kind, double sent_s, double end_s) {
  LoadRecord record;
  record.intended_s = record.sent_s = sent_s;
  record.end_s = end_s;
  record.error_kind = kind;
  record.error_message = "because of " + kind;
  return record;
}

TEST(LoadResult, CountsLatenciesFromWhenTheRequestWasDue) {
  const RequestLatency latency = LatencyOf(Completed(1, 1.5, {2, 2.1, 2.4}, 5));
  EXPECT_NEAR(latency.ttft_ms, 1000, 1e-9);
  EXPECT_NEAR(latency.e2el_ms, 1400, 1e-9);
  EXPECT_NEAR(latency.tpot_ms, 100, 1e-9);
  EXPECT_EQ(LatencyOf(Completed(1, 1, {2}, 1)).tpot_ms, 0);
}

TEST(LoadResult, AddsUpWhatWasCompletedAndNamesWhatFailed) {
  LoadRun run;
  run.records = {Completed(0, 0, {0.5, 1.0}, 3), Failed("HTTP 429", 0.2, 0.3), Completed(1, 1, {1.2, 1.4, 4.0}, 3),
                 Failed("HTTP 429", 2, 2.1), Failed("timeout", 2, 3)};
  run.duration_s = 4;
  run.skipped = 1;
  const LoadResult result = Evaluate(run, {});
  EXPECT_EQ(result.completed, 2);
  EXPECT_EQ(result.failed, 3);
  EXPECT_EQ(result.skipped, 1);
  EXPECT_EQ(result.good, 2);
  EXPECT_EQ(result.input_tokens, 20);
  EXPECT_EQ(result.cached_tokens, 8);
  EXPECT_EQ(result.output_tokens, 6);
  EXPECT_THAT(result.errors, ElementsAre(Pair("HTTP 429", 2), Pair("timeout", 1)));
  EXPECT_EQ(result.first_error, "because of HTTP 429");
  EXPECT_NEAR(result.ttft.mean, 350, 1e-9);
  EXPECT_NEAR(result.itl.median, 500, 1e-9);
  EXPECT_EQ(result.max_concurrent_requests, 3);
  EXPECT_EQ(result.PerSecond(result.completed), 0.5);
}

TEST(LoadResult, CountsAsGoodWhatIsWithinEveryLimit) {
  LoadRun run;
  run.duration_s = 3;
  // TTFT 500, 100, 400; TPOT 100, 300, 100.
  run.records = {Completed(0, 0, {0.5, 0.6}, 2), Completed(0, 0, {0.1, 0.4}, 2), Completed(0, 0, {0.4, 0.5}, 2)};
  const auto good = [&](const std::vector<std::string>& limits) {
    return Evaluate(run, ParseGoodputLimits(limits).value()).good;
  };
  EXPECT_EQ(good({}), 3);
  EXPECT_EQ(good({"ttft:450"}), 2);
  EXPECT_EQ(good({"ttft:450", "tpot:150"}), 1);
  EXPECT_EQ(good({"e2el:450"}), 1);
  EXPECT_EQ(good({"ttft:0"}), 0);
}

TEST(LoadResult, RefusesLimitsThatItDoesNotKnow) {
  for (const char* wrong : {"ttft", "ttft:", "ttft:fast", "ttft:-1", "ttft:nan", "itl:5", ":5", ""}) {
    EXPECT_THAT(ParseGoodputLimits({wrong}).status().message(), HasSubstr("--goodput")) << wrong;
  }
  EXPECT_FALSE(ParseGoodputLimits({})->any());
  EXPECT_TRUE(ParseGoodputLimits({"e2el:1000"})->any());
}

TEST(LoadResult, SpreadsTokensOverTheTimesOfTheirMessages) {
  LoadRun run;
  run.duration_s = 2;
  run.records = {Completed(0, 0, {0.25, 0.5, 1.5, 2.0}, 8)};
  EXPECT_THAT(OutputThroughput(run, 1.0).values, ElementsAre(4, 2, 2));
  EXPECT_EQ(Evaluate(run, {}).max_output_tokens_per_s, 4);
}

TEST(LoadResult, FollowsTheNumberOfOpenRequests) {
  LoadRun run;
  run.records = {Completed(0, 0, {2}, 1), Completed(1, 1, {3}, 1), Completed(2, 2, {4}, 1)};
  std::vector<int> open;
  for (const Concurrency& concurrency : RequestsInFlight(run)) open.push_back(concurrency.requests);
  EXPECT_THAT(open, ElementsAre(1, 2, 1, 2, 1, 0));
}

TEST(LoadResult, OfNothingIsZero) {
  const LoadResult result = Evaluate({}, {});
  EXPECT_EQ(result.PerSecond(result.completed), 0);
  EXPECT_EQ(result.max_concurrent_requests, 0);
}

}  // namespace
}  // namespace quire
