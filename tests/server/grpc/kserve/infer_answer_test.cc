#include "server/grpc/kserve/infer_answer.h"

#include <gtest/gtest.h>

namespace quire::kserve {
namespace {

ResponseDelta Delta(int index, const std::string& text, bool last = false) {
  ResponseDelta delta;
  delta.output.index = index;
  delta.output.tokens = {1, 2};
  delta.output.last = last;
  if (last) {
    delta.output.finish_reason = FinishReason::kLength;
    delta.output.usage.prompt_tokens = 7;
  }
  delta.text = text;
  return delta;
}

inference::ModelInferRequest Request() {
  inference::ModelInferRequest request;
  request.set_id("mine");
  request.set_model_name("letters");
  return request;
}

// The bytes of a tensor of texts.
std::string Raw(std::initializer_list<std::string> texts) {
  std::string out;
  for (const std::string& text : texts)
    out += std::string(1, static_cast<char>(text.size())) + std::string(3, '\0') + text;
  return out;
}

inference::ModelInferResponse Take(InferAnswer& answer) {
  inference::ModelInferResponse response;
  answer.Take(response);
  return response;
}

TEST(InferAnswer, AStreamSendsWhatIsNewOnce) {
  InferAnswer answer(Request(), {.stream = true}, 1);
  EXPECT_FALSE(answer.ready());
  answer.Add(Delta(0, "a"));
  answer.Add(Delta(0, "b"));
  ASSERT_TRUE(answer.ready());
  const auto first = Take(answer);
  EXPECT_EQ(first.id(), "mine");
  EXPECT_EQ(first.raw_output_contents(0), Raw({"ab"}));
  EXPECT_FALSE(first.parameters().at("triton_final_response").bool_param());
  EXPECT_FALSE(answer.ready());
  answer.Add(Delta(0, "", /*last=*/true));
  ASSERT_TRUE(answer.ready());
  const auto last = Take(answer);
  EXPECT_EQ(last.raw_output_contents(0), Raw({""}));
  EXPECT_TRUE(last.parameters().at("triton_final_response").bool_param());
}

TEST(InferAnswer, AWholeAnswerComesAtTheEndBehindItsPrompt) {
  InferAnswer answer(Request(), {.echo = "p:"}, 2);
  answer.Add(Delta(0, "a"));
  answer.Add(Delta(1, "b"));
  EXPECT_FALSE(answer.ready());
  answer.Add(Delta(0, "c", /*last=*/true));
  ASSERT_TRUE(answer.ready());
  const auto response = Take(answer);
  EXPECT_EQ(response.outputs(0).shape(0), 2);
  EXPECT_EQ(response.raw_output_contents(0), Raw({"p:ac", "p:b"}));
}

TEST(InferAnswer, WhatWasAskedForIsAddedAsTensors) {
  InferAnswer answer(Request(),
                     {.stream = true, .finish_reason = true, .num_input_tokens = true, .num_output_tokens = true}, 1);
  answer.Add(Delta(0, "a"));
  const auto first = Take(answer);
  ASSERT_EQ(first.outputs_size(), 3) << "the prompt's tokens are told at the end";
  EXPECT_EQ(first.raw_output_contents(1), Raw({""}));
  EXPECT_EQ(first.raw_output_contents(2), std::string("\2\0\0\0", 4));
  answer.Add(Delta(0, "b", /*last=*/true));
  const auto last = Take(answer);
  ASSERT_EQ(last.outputs_size(), 4);
  EXPECT_EQ(last.outputs(1).name(), "finish_reason");
  EXPECT_EQ(last.raw_output_contents(1), Raw({"length"}));
  EXPECT_EQ(last.outputs(3).name(), "num_input_tokens");
  EXPECT_EQ(last.raw_output_contents(3), std::string("\7\0\0\0", 4));
}

TEST(InferAnswer, ARefusalIsAnErrorWithTheRequestsId) {
  InferAnswer answer(Request(), {}, 0);
  answer.Fail(absl::InvalidArgumentError("no"));
  ASSERT_TRUE(answer.ready() && answer.over());
  inference::ModelStreamInferResponse response;
  answer.Take(response);
  EXPECT_EQ(response.error_message(), "no");
  EXPECT_EQ(response.infer_response().id(), "mine");
}

}  // namespace
}  // namespace quire::kserve
