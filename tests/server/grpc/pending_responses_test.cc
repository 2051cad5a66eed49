#include "server/grpc/pending_responses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;

ResponseDelta Delta(int index, std::string text, std::vector<TokenId> tokens) {
  ResponseDelta delta;
  delta.output.index = index;
  delta.output.tokens = std::move(tokens);
  delta.text = std::move(text);
  return delta;
}

ResponseDelta Last(ResponseDelta delta) {
  delta.output.last = true;
  delta.output.finish_reason = FinishReason::kLength;
  delta.output.usage = {.prompt_tokens = 1, .cached_tokens = 2, .completion_tokens = 3};
  delta.output.timings = {absl::Milliseconds(1500), absl::Milliseconds(2), absl::Seconds(3)};
  return delta;
}

TEST(PendingResponses, MergesWhatHasNotBeenTaken) {
  PendingResponses pending;
  EXPECT_TRUE(pending.empty());
  pending.Add(Delta(0, "a", {1}));
  pending.Add(Delta(0, "b", {2, 3}));
  const v1::GenerateResponse message = pending.Pop();
  EXPECT_EQ(message.text(), "ab");
  EXPECT_THAT(message.token_ids(), ElementsAre(1, 2, 3));
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_FALSE(message.has_usage());
  EXPECT_TRUE(pending.empty());
}

TEST(PendingResponses, PutsTheArgumentsOfACallTogether) {
  PendingResponses pending;
  const auto add = [&](std::vector<AnswerPiece> pieces) {
    ResponseDelta delta = Delta(0, "", {});
    delta.pieces = std::move(pieces);
    pending.Add(std::move(delta));
  };
  add({{.text = "plain"}, {.call = 0, .id = "i", .name = "f", .text = "{"}});
  add({{.call = 0, .text = "}"}, {.call = 1, .id = "j", .name = "g"}});
  const v1::GenerateResponse first = pending.Pop();
  ASSERT_EQ(first.tool_calls_size(), 2);
  EXPECT_EQ(first.tool_calls(0).id(), "i");
  EXPECT_EQ(first.tool_calls(0).name(), "f");
  EXPECT_EQ(first.tool_calls(0).arguments(), "{}");
  EXPECT_EQ(first.tool_calls(1).index(), 1);
  ResponseDelta end = Last(Delta(0, "", {}));
  end.pieces = {{.call = 1, .text = "{}"}};
  end.ends_with_calls = true;
  pending.Add(std::move(end));
  const v1::GenerateResponse last = pending.Pop();
  ASSERT_EQ(last.tool_calls_size(), 1);
  EXPECT_EQ(last.tool_calls(0).index(), 1);
  EXPECT_EQ(last.tool_calls(0).name(), "") << "it was told";
  EXPECT_EQ(last.tool_calls(0).arguments(), "{}");
  EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_TOOL_CALLS);
}

TEST(PendingResponses, KeepsOneMessageForEachSample) {
  PendingResponses pending;
  pending.Add(Delta(1, "x", {1}));
  pending.Add(Delta(0, "a", {2}));
  pending.Add(Delta(1, "y", {3}));
  const v1::GenerateResponse first = pending.Pop();
  EXPECT_EQ(first.index(), 1);
  EXPECT_EQ(first.text(), "xy");
  EXPECT_EQ(pending.Pop().index(), 0);
}

TEST(PendingResponses, PutsUsageAndTimingsOnTheStreamsLastMessageWhicheverSampleThatIs) {
  PendingResponses pending;
  pending.Add(Delta(0, "a", {1}));
  pending.Add(Delta(1, "b", {2}));
  pending.Add(Last(Delta(0, "c", {3})));
  const v1::GenerateResponse first = pending.Pop();
  EXPECT_EQ(first.index(), 0);
  EXPECT_EQ(first.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(first.has_usage());
  const v1::GenerateResponse last = pending.Pop();
  EXPECT_EQ(last.index(), 1);
  EXPECT_EQ(last.usage().prompt_tokens(), 1);
  EXPECT_EQ(last.usage().cached_tokens(), 2);
  EXPECT_EQ(last.usage().completion_tokens(), 3);
  EXPECT_EQ(last.timings().queue().seconds(), 1);
  EXPECT_EQ(last.timings().queue().nanos(), 500'000'000);
  EXPECT_EQ(last.timings().decode().seconds(), 3);
}

TEST(PendingResponses, ConvertsLogprobs) {
  ResponseDelta delta = Delta(0, "", {5});
  delta.output.logprobs = {{5, -0.5f, {{5, -0.5f}, {6, -1.0f}}}};
  delta.output.prompt_logprobs = {{7, -2.0f, {}}};
  PendingResponses pending;
  pending.Add(std::move(delta));
  const v1::GenerateResponse message = pending.Pop();
  ASSERT_EQ(message.logprobs_size(), 1);
  EXPECT_EQ(message.logprobs(0).token_id(), 5);
  ASSERT_EQ(message.logprobs(0).top_size(), 2);
  EXPECT_EQ(message.logprobs(0).top(1).logprob(), -1.0f);
  ASSERT_EQ(message.prompt_logprobs_size(), 1);
  EXPECT_EQ(message.prompt_logprobs(0).token_id(), 7);
}

}  // namespace
}  // namespace quire
