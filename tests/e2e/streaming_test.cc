// What a client sees of one stream: text as it is made, usage and timings at its end.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

TEST(Streaming, TextArrivesInManyMessagesAndEndsWithUsageAndTimings) {
  ServerProcess server;
  const Completion completion = Generate(server.inference(), GreedyRequest("The capital of France is", 24));
  ASSERT_TRUE(completion.status.ok()) << completion.status.error_message();
  EXPECT_THAT(completion.text, HasSubstr("Paris"));
  EXPECT_GT(completion.messages, 8);
  EXPECT_EQ(completion.token_ids.size(), 24u);
  EXPECT_EQ(completion.finish_reason, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(completion.usage.prompt_tokens(), 5);
  EXPECT_EQ(completion.usage.cached_tokens(), 0);
  EXPECT_EQ(completion.usage.completion_tokens(), 24);
  using google::protobuf::util::TimeUtil;
  EXPECT_GT(TimeUtil::DurationToMicroseconds(completion.timings.prefill()), 0);
  EXPECT_GT(TimeUtil::DurationToMicroseconds(completion.timings.decode()), 0);
  EXPECT_GE(TimeUtil::DurationToMicroseconds(completion.timings.queue()), 0);
}

TEST(Streaming, ChatUsesTheModelsTemplateAndStopsAtTheEndOfTheTurn) {
  ServerProcess server;
  v1::ChatRequest request;
  v1::ChatMessage& message = *request.add_messages();
  message.set_role("user");
  message.set_content("What is the capital of France?");
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(100);
  const Completion completion = Chat(server.inference(), request);
  ASSERT_TRUE(completion.status.ok()) << completion.status.error_message();
  EXPECT_THAT(completion.text, HasSubstr("Paris"));
  EXPECT_THAT(completion.text, ::testing::Not(HasSubstr("<|im_end|>")));
  EXPECT_EQ(completion.finish_reason, v1::FINISH_REASON_STOP);
}

TEST(Streaming, ASecondRequestFindsTheFirstOnesPromptInTheCacheAndSaysTheSame) {
  ServerProcess server;
  std::string prompt = "Once upon a time";
  for (int i = 0; i < 60; ++i) prompt += " there was a small house by the sea";
  const Completion cold = Generate(server.inference(), GreedyRequest(prompt, 16));
  const Completion warm = Generate(server.inference(), GreedyRequest(prompt, 16));
  ASSERT_TRUE(warm.status.ok()) << warm.status.error_message();
  EXPECT_EQ(cold.usage.cached_tokens(), 0);
  EXPECT_EQ(warm.usage.cached_tokens(), warm.usage.prompt_tokens() - 1);
  EXPECT_EQ(warm.token_ids, cold.token_ids);
}

TEST(Streaming, AStreamMayBeLongerThanThePoolWhereAWindowIsKept) {
  ServerProcess server({"--kv-policy", "sink-window", "--kv-window-tokens", "96", "--kv-cache-memory", "3MiB"});
  v1::GenerateRequest request = GreedyRequest("Once upon a time", 500);
  request.mutable_sampling_params()->set_ignore_eos(true);
  const Completion completion = Generate(server.inference(), request);
  ASSERT_TRUE(completion.status.ok()) << completion.status.error_message();
  EXPECT_EQ(completion.token_ids.size(), 500u);
  EXPECT_LE(server.Stats().kv_pages_total() * 32, 160);
}

TEST(Streaming, AStopStringEndsTheTextBeforeItAndIsNotPartOfIt) {
  ServerProcess server;
  v1::GenerateRequest request = GreedyRequest("1, 2, 3, 4, 5, 6,", 60);
  const Completion whole = Generate(server.inference(), request);
  ASSERT_THAT(whole.text, HasSubstr("9"));
  request.mutable_sampling_params()->add_stop("9");
  const Completion stopped = Generate(server.inference(), request);
  ASSERT_TRUE(stopped.status.ok()) << stopped.status.error_message();
  EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find('9')));
  EXPECT_EQ(stopped.finish_reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(stopped.usage.completion_tokens(), static_cast<int>(stopped.token_ids.size()));
  EXPECT_LT(stopped.token_ids.size(), whole.token_ids.size());
}

TEST(Streaming, SamplesOfOneRequestDifferAndRepeatUnderTheSameSeed) {
  ServerProcess server;
  v1::GenerateRequest request = GreedyRequest("My favourite animal is", 16);
  request.mutable_sampling_params()->set_temperature(1.2);
  request.mutable_sampling_params()->set_seed(7);
  request.mutable_sampling_params()->set_n(3);
  request.mutable_sampling_params()->set_ignore_eos(true);
  std::vector<std::vector<int32_t>> first, second;
  for (int i = 0; i < 3; ++i) {
    const Completion completion = Generate(server.inference(), request, std::chrono::minutes(1), i);
    ASSERT_TRUE(completion.status.ok()) << completion.status.error_message();
    EXPECT_EQ(completion.usage.completion_tokens(), 48);
    first.push_back(completion.token_ids);
    second.push_back(Generate(server.inference(), request, std::chrono::minutes(1), i).token_ids);
  }
  EXPECT_EQ(first, second);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first[1], first[2]);
  // The first sample is what a request for one sample gets.
  request.mutable_sampling_params()->set_n(1);
  EXPECT_EQ(Generate(server.inference(), request).token_ids, first[0]);
}

TEST(Streaming, LogProbabilitiesComeForNewAndForPromptTokens) {
  ServerProcess server;
  v1::GenerateRequest request = GreedyRequest("The sky is blue because", 8);
  request.mutable_sampling_params()->set_logprobs(3);
  request.mutable_sampling_params()->set_prompt_logprobs(2);
  const Completion completion = Generate(server.inference(), request);
  ASSERT_TRUE(completion.status.ok()) << completion.status.error_message();
  ASSERT_EQ(completion.logprobs.size(), completion.token_ids.size());
  for (size_t i = 0; i < completion.logprobs.size(); ++i) {
    const v1::TokenLogprob& logprob = completion.logprobs[i];
    EXPECT_EQ(logprob.token_id(), completion.token_ids[i]);
    ASSERT_EQ(logprob.top_size(), 3);
    // Greedy: the chosen token is the most likely one.
    EXPECT_EQ(logprob.top(0).token_id(), logprob.token_id());
    EXPECT_FLOAT_EQ(logprob.top(0).logprob(), logprob.logprob());
    EXPECT_LE(logprob.logprob(), 0);
  }
  EXPECT_EQ(static_cast<int>(completion.prompt_logprobs.size()), completion.usage.prompt_tokens() - 1);
}

TEST(Streaming, TokenizeAndDetokenizeAreInverses) {
  ServerProcess server;
  const std::string text = "Grüße, 世界! <|im_end|> 12345 👩‍👩‍👧";
  grpc::ClientContext context;
  v1::TokenizeRequest tokenize;
  tokenize.set_text(text);
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(server.inference().Tokenize(&context, tokenize, &tokens).ok());
  grpc::ClientContext back_context;
  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_token_ids() = tokens.token_ids();
  v1::DetokenizeResponse back;
  ASSERT_TRUE(server.inference().Detokenize(&back_context, detokenize, &back).ok());
  EXPECT_EQ(back.text(), text);
  // Read as the token that it names, the marker is one id.
  grpc::ClientContext special_context;
  tokenize.set_parse_special_tokens(true);
  v1::TokenizeResponse special;
  ASSERT_TRUE(server.inference().Tokenize(&special_context, tokenize, &special).ok());
  EXPECT_LT(special.token_ids_size(), tokens.token_ids_size());
}

}  // namespace
}  // namespace quire
