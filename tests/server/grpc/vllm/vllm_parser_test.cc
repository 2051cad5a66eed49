#include "server/grpc/vllm/vllm_parser.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class VllmParserTest : public testing::Test {
 protected:
  VllmParserTest() {
    model_.name = "letters";
    model_.max_model_len = 10;
    model_.tokenizer = &tokenizer_;
  }

  absl::StatusOr<PipelineRequest> Parse(const std::string& text) const {
    ::vllm::grpc::engine::GenerateRequest request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
    return VllmParser(model_).Parse(request);
  }
  // With a prompt of three tokens.
  absl::StatusOr<PipelineRequest> ParseSampling(const std::string& sampling) const {
    return Parse("tokenized { input_ids: [1, 2, 3] } sampling_params { " + sampling + " }");
  }

  LetterTokenizer tokenizer_;
  ServedModel model_;
};

TEST_F(VllmParserTest, TakesZeroForUnset) {
  const auto request = ParseSampling("");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(std::get<std::vector<TokenId>>(request->prompt), ElementsAre(1, 2, 3));
  const SamplingParams& sampling = request->generate.sampling;
  EXPECT_EQ(sampling.temperature, 1.0f);
  EXPECT_EQ(sampling.top_p, 1.0f);
  EXPECT_EQ(sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(sampling.n, 1);
  EXPECT_EQ(sampling.max_tokens, 0) << "as many as fit";
  EXPECT_EQ(sampling.logprobs, -1);
}

TEST_F(VllmParserTest, ReadsWhatIsThere) {
  const auto request = ParseSampling(
      "temperature: 0 top_p: 0.5 top_k: 3 min_p: 0.25 frequency_penalty: 1 presence_penalty: -1 repetition_penalty: 2 "
      "max_tokens: 5 min_tokens: 2 stop: 'x' stop_token_ids: 4 ignore_eos: true n: 2 logprobs: 0 prompt_logprobs: 1 "
      "seed: -1 logit_bias { key: 6 value: -3 }");
  ASSERT_TRUE(request.ok()) << request.status();
  const SamplingParams& sampling = request->generate.sampling;
  EXPECT_EQ(sampling.temperature, 0.0f);
  EXPECT_EQ(sampling.top_p, 0.5f);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_EQ(sampling.min_p, 0.25f);
  EXPECT_EQ(sampling.frequency_penalty, 1.0f);
  EXPECT_EQ(sampling.presence_penalty, -1.0f);
  EXPECT_EQ(sampling.repetition_penalty, 2.0f);
  EXPECT_EQ(sampling.max_tokens, 5);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_THAT(sampling.stop, ElementsAre("x"));
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(4));
  EXPECT_TRUE(sampling.ignore_eos);
  EXPECT_EQ(sampling.n, 2);
  EXPECT_EQ(sampling.logprobs, 0);
  EXPECT_EQ(sampling.prompt_logprobs, 1);
  EXPECT_EQ(sampling.seed, ~uint64_t{0});
  EXPECT_THAT(sampling.logit_bias, ElementsAre(testing::Pair(6, -3.0f)));
}

TEST_F(VllmParserTest, TakesMoreTokensThanFitToMeanAsManyAsDo) {
  for (const char* many : {"8", "1000", "4294967295"}) {
    const auto request = ParseSampling(std::string("max_tokens: ") + many + " min_tokens: " + many);
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->generate.sampling.max_tokens, 7);
    EXPECT_EQ(request->generate.sampling.min_tokens, 7);
  }
  EXPECT_EQ(ParseSampling("top_k: 4294967295")->generate.sampling.top_k, LetterTokenizer::kVocabSize);
}

TEST_F(VllmParserTest, KeepsTheLastTokensOfATruncatedPrompt) {
  const auto prompt = [this](const std::string& sampling) {
    return std::get<std::vector<TokenId>>(ParseSampling(sampling)->prompt);
  };
  EXPECT_THAT(prompt("truncate_prompt_tokens: 2"), ElementsAre(2, 3));
  EXPECT_THAT(prompt("truncate_prompt_tokens: 7"), ElementsAre(1, 2, 3));
  EXPECT_THAT(prompt("truncate_prompt_tokens: -1"), ElementsAre(1, 2, 3));
  model_.max_model_len = 3;
  EXPECT_THAT(prompt("truncate_prompt_tokens: -1"), ElementsAre(2, 3));
}

TEST_F(VllmParserTest, ReadsTheFormOfTheAnswer) {
  using Kind = OutputFormat::Kind;
  const auto format = [this](const std::string& sampling) { return ParseSampling(sampling)->output_format; };
  EXPECT_EQ(format("").kind, Kind::kFree);
  EXPECT_EQ(format("json_schema: '{}'").kind, Kind::kJsonSchema);
  EXPECT_EQ(format("json_schema: '{}'").source, "{}");
  EXPECT_EQ(format("regex: 'a+'").kind, Kind::kRegex);
  EXPECT_EQ(format("grammar: 'root ::= \"a\"'").kind, Kind::kGrammar);
  EXPECT_EQ(format("json_object: true").kind, Kind::kJsonObject);
  EXPECT_EQ(format("json_object: false").kind, Kind::kFree);
  EXPECT_EQ(format("choice { choices: ['a', 'b'] }").kind, Kind::kChoice);
  EXPECT_THAT(format("choice { choices: ['a', 'b'] }").choices, ElementsAre("a", "b"));
  EXPECT_EQ(format("structural_tag: '{}'").kind, Kind::kStructuralTag);
  EXPECT_EQ(format("structural_tag: '{}'").source, "{}");
  EXPECT_EQ(format("structural_tag: '{}'").field, "sampling_params.structural_tag");
}

TEST_F(VllmParserTest, NamesTheFieldAtFault) {
  const auto fault = [](const absl::StatusOr<PipelineRequest>& request) {
    EXPECT_TRUE(absl::IsInvalidArgument(request.status())) << request.status();
    return std::string(request.status().message());
  };
  EXPECT_THAT(fault(Parse("")), HasSubstr("input must be set"));
  EXPECT_THAT(fault(Parse("tokenized {}")), HasSubstr("tokenized.input_ids must not be empty"));
  EXPECT_THAT(fault(Parse("tokenized { input_ids: [1, 31] }")), HasSubstr("tokenized.input_ids[1] must be in [0, 31)"));
  EXPECT_THAT(fault(Parse("tokenized { input_ids: 4294967295 }")), HasSubstr("tokenized.input_ids[0]"));
  EXPECT_THAT(fault(Parse("text: '" + std::string(1000, 'a') + "'")), HasSubstr("text must fit into 10 tokens"));
  EXPECT_THAT(fault(Parse("text: 'a' request_id: '" + std::string(2000, 'a') + "'")), HasSubstr("request_id"));
  EXPECT_THAT(fault(Parse("text: 'a' data_parallel_rank: 1")), HasSubstr("data_parallel_rank must be 0"));
  EXPECT_THAT(fault(ParseSampling("max_tokens: 0")), HasSubstr("sampling_params.max_tokens must be at least 1"));
  EXPECT_THAT(fault(ParseSampling("top_p: 2")), HasSubstr("sampling_params.top_p"));
  EXPECT_THAT(fault(ParseSampling("top_p: nan")), HasSubstr("sampling_params.top_p"));
  EXPECT_THAT(fault(ParseSampling("n: 4294967295")), HasSubstr("sampling_params.n"));
  EXPECT_THAT(fault(ParseSampling("logprobs: -1")), HasSubstr("sampling_params.logprobs"));
  EXPECT_THAT(fault(ParseSampling("prompt_logprobs: -1")), HasSubstr("sampling_params.prompt_logprobs"));
  EXPECT_THAT(fault(ParseSampling("truncate_prompt_tokens: 0")), HasSubstr("truncate_prompt_tokens"));
  EXPECT_THAT(fault(ParseSampling("truncate_prompt_tokens: -2147483648")), HasSubstr("truncate_prompt_tokens"));
  EXPECT_THAT(fault(ParseSampling("stop: ''")), HasSubstr("sampling_params.stop[0]"));
  EXPECT_THAT(fault(ParseSampling("choice {}")), HasSubstr("sampling_params.choice.choices"));
}

TEST_F(VllmParserTest, SaysWhatThisServerCannotDo) {
  for (const char* text :
       {"text: 'a' mm_inputs {}", "text: 'a' media_refs {}", "text: 'a' kv_transfer_params {}",
        "text: 'a' kv_transfer_params_json: '{}'", "text: 'a' sampling_params { prompt_logprobs: 1 }",
        "text: 'a' sampling_params { truncate_prompt_tokens: 1 }"}) {
    EXPECT_TRUE(absl::IsUnimplemented(Parse(text).status())) << text << ": " << Parse(text).status();
  }
}

}  // namespace
}  // namespace quire
