#include "server/grpc/vllm/vllm_pending_responses.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;

::vllm::grpc::engine::GenerateRequest Request(const std::string& text) {
  ::vllm::grpc::engine::GenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

ResponseDelta Delta(std::vector<TokenId> tokens, int index = 0) {
  ResponseDelta delta;
  delta.output.index = index;
  for (const TokenId token : tokens) delta.output.logprobs.push_back({token, -0.5f, {{token, -0.5f}, {99, -1.5f}}});
  delta.output.tokens = std::move(tokens);
  delta.output.usage = {.prompt_tokens = 5, .cached_tokens = 4, .completion_tokens = 0};
  return delta;
}

ResponseDelta Finished(ResponseDelta delta, FinishReason reason) {
  delta.output.finish_reason = reason;
  return delta;
}

TEST(VllmPendingResponses, GivesNothingBeforeTheEndToWhoAsksForNoStream) {
  VllmPendingResponses pending(Request("stream: false"));
  pending.Add(Delta({1, 2}));
  EXPECT_TRUE(pending.empty());
  pending.Add(Finished(Delta({3}), FinishReason::kLength));
  ASSERT_FALSE(pending.empty());
  const auto message = pending.Pop();
  EXPECT_TRUE(pending.empty());
  EXPECT_THAT(message.complete().output_ids(), ElementsAre(1, 2, 3));
  EXPECT_EQ(message.complete().finish_reason(), "length");
  EXPECT_EQ(message.complete().completion_tokens(), 3u);
  EXPECT_EQ(message.complete().prompt_tokens(), 5u);
  EXPECT_EQ(message.complete().cached_tokens(), 4u);
  EXPECT_THAT(message.complete().output_logprobs().token_ids(), ElementsAre(1, 2, 3));
}

TEST(VllmPendingResponses, CountsInEachChunkTheTokensThatAreNew) {
  VllmPendingResponses pending(Request("stream: true"));
  pending.Add(Delta({1}));
  EXPECT_THAT(pending.Pop().chunk().token_ids(), ElementsAre(1));
  pending.Add(Delta({2}));
  pending.Add(Delta({3}));
  const auto merged = pending.Pop();
  EXPECT_THAT(merged.chunk().token_ids(), ElementsAre(2, 3)) << "what was not taken is merged";
  EXPECT_EQ(merged.chunk().completion_tokens(), 2u);
  EXPECT_EQ(merged.chunk().prompt_tokens(), 5u);
  EXPECT_THAT(merged.chunk().output_logprobs().token_ids(), ElementsAre(2, 3));
  EXPECT_TRUE(pending.empty());
}

TEST(VllmPendingResponses, EndsAStreamWithAllOfItsTokens) {
  VllmPendingResponses pending(Request("stream: true"));
  pending.Add(Delta({1}));
  (void)pending.Pop();
  pending.Add(Finished(Delta({2}), FinishReason::kStop));
  EXPECT_THAT(pending.Pop().chunk().token_ids(), ElementsAre(2));
  ASSERT_FALSE(pending.empty());
  const auto last = pending.Pop();
  EXPECT_THAT(last.complete().output_ids(), ElementsAre(1, 2));
  EXPECT_EQ(last.complete().finish_reason(), "stop");
  EXPECT_FALSE(last.complete().has_output_logprobs()) << "the chunks had them";
  EXPECT_TRUE(pending.empty());
}

TEST(VllmPendingResponses, KeepsSamplesApart) {
  VllmPendingResponses pending(Request("stream: true"));
  pending.Add(Delta({10}, 1));
  pending.Add(Finished(Delta({20}, 0), FinishReason::kLength));
  pending.Add(Finished(Delta({11}, 1), FinishReason::kLength));
  const auto first = pending.Pop();
  EXPECT_EQ(first.chunk().index(), 1u);
  EXPECT_THAT(first.chunk().token_ids(), ElementsAre(10, 11));
  EXPECT_THAT(pending.Pop().complete().output_ids(), ElementsAre(10, 11));
  EXPECT_EQ(pending.Pop().chunk().index(), 0u);
  EXPECT_THAT(pending.Pop().complete().output_ids(), ElementsAre(20));
  EXPECT_TRUE(pending.empty());
}

TEST(VllmPendingResponses, NamesWhatEndedTheSample) {
  const auto end = [](const std::string& request, const std::string& stop_string, FinishReason reason) {
    VllmPendingResponses pending(Request(request));
    ResponseDelta delta = Finished(Delta({1, 2}), reason);
    delta.stop_string = stop_string;
    pending.Add(std::move(delta));
    return pending.Pop().complete();
  };
  EXPECT_EQ(end("", "END", FinishReason::kStop).matched_stop_str(), "END");
  EXPECT_EQ(end("sampling_params { stop_token_ids: [9, 2] }", "", FinishReason::kStop).matched_token_id(), 2u);
  const auto none = ::vllm::grpc::engine::GenerateComplete::MATCHED_STOP_NOT_SET;
  EXPECT_EQ(end("sampling_params { stop_token_ids: 1 }", "", FinishReason::kStop).matched_stop_case(), none);
  EXPECT_EQ(end("sampling_params { stop_token_ids: 2 }", "", FinishReason::kLength).matched_stop_case(), none);
}

TEST(VllmPendingResponses, GivesAlternativesWhereTheyWereAskedFor) {
  for (const int num_logprobs : {0, 2}) {
    VllmPendingResponses pending(Request("sampling_params { logprobs: " + std::to_string(num_logprobs) + " }"));
    pending.Add(Finished(Delta({1}), FinishReason::kLength));
    const auto logprobs = pending.Pop().complete().output_logprobs();
    EXPECT_THAT(logprobs.token_logprobs(), ElementsAre(-0.5f));
    EXPECT_EQ(logprobs.top_logprobs_size(), num_logprobs > 0 ? 1 : 0);
    if (num_logprobs > 0) {
      EXPECT_THAT(logprobs.top_logprobs(0).token_ids(), ElementsAre(1, 99));
    }
  }
}

TEST(VllmPendingResponses, PutsThePromptsFirstTokenBeforeThoseThatHaveAProbability) {
  VllmPendingResponses pending(Request("sampling_params { prompt_logprobs: 1 }"), /*first_prompt_token=*/4);
  ResponseDelta delta = Finished(Delta({1}), FinishReason::kLength);
  delta.output.prompt_logprobs = {{5, -2.0f, {{6, -1.0f}}}};
  pending.Add(std::move(delta));
  const auto logprobs = pending.Pop().complete().input_logprobs();
  EXPECT_THAT(logprobs.token_ids(), ElementsAre(4, 5));
  ASSERT_EQ(logprobs.token_logprobs_size(), 2);
  EXPECT_FALSE(logprobs.token_logprobs(0).has_value());
  EXPECT_EQ(logprobs.token_logprobs(1).value(), -2.0f);
  EXPECT_EQ(logprobs.top_logprobs_size(), 2);
}

TEST(VllmPendingResponses, SendsNothingOfARequestThatFailedBeforeItsFirstToken) {
  VllmPendingResponses pending(Request("stream: true"));
  ResponseDelta delta;
  delta.output.last = true;
  delta.output.status = absl::CancelledError("");
  pending.Add(std::move(delta));
  EXPECT_TRUE(pending.empty());
}

}  // namespace
}  // namespace quire
