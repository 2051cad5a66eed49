#include "server/grpc/request_parser.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>

#include "google/rpc/error_details.pb.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

ServedModel LettersModel(const Tokenizer& tokenizer) {
  ServedModel model;
  model.name = "letters";
  model.max_model_len = 10;
  model.tokenizer = &tokenizer;
  return model;
}

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class RequestParserTest : public testing::Test {
 protected:
  template <typename Request>
  static Request FromText(const std::string& text) {
    Request request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
    return request;
  }
  absl::StatusOr<PipelineRequest> Generate(const std::string& text) {
    return parser_.Parse(FromText<v1::GenerateRequest>(text));
  }
  absl::StatusOr<PipelineRequest> Chat(const std::string& text) {
    return parser_.Parse(FromText<v1::ChatRequest>(text));
  }

  static std::string FieldOf(const absl::Status& status) {
    google::rpc::BadRequest detail;
    const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
    if (!payload || !detail.ParseFromString(std::string(*payload))) return "none: " + status.ToString();
    return detail.field_violations(0).field();
  }

  LetterTokenizer tokenizer_;
  ServedModel model_ = LettersModel(tokenizer_);
  RequestParser parser_{model_};
};

TEST_F(RequestParserTest, FillsInDefaultsForWhatIsAbsent) {
  const auto request = Generate("text: 'ab'");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(std::get<std::string>(request->prompt), "ab");
  const SamplingParams& sampling = request->generate.sampling;
  EXPECT_EQ(sampling.temperature, 1.0f);
  EXPECT_EQ(sampling.top_p, 1.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.max_tokens, 0);
  EXPECT_EQ(sampling.n, 1);
  EXPECT_EQ(sampling.logprobs, -1);
  EXPECT_EQ(sampling.prompt_logprobs, -1);
}

TEST_F(RequestParserTest, TellsZeroFromAbsent) {
  const auto request = Generate("text: 'ab' sampling_params { temperature: 0 logprobs: 0 prompt_logprobs: 0 seed: 0 }");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->generate.sampling.greedy());
  EXPECT_EQ(request->generate.sampling.logprobs, 0);
  EXPECT_EQ(request->generate.sampling.prompt_logprobs, 0);
  EXPECT_EQ(request->generate.sampling.seed, 0u);
}

TEST_F(RequestParserTest, ReadsEveryField) {
  const auto request = Generate(R"(
    model: 'letters' token_ids { ids: 1 ids: 2 } priority: -3
    sampling_params {
      temperature: 0.5 top_p: 0.25 top_k: 4 min_p: 0.125 repetition_penalty: 1.5 presence_penalty: 0.75
      frequency_penalty: -0.75 seed: 18446744073709551615 max_tokens: 7 min_tokens: 2 stop: 'x' stop: 'y'
      stop_token_ids: 3 ignore_eos: true n: 2 logit_bias { key: 9 value: -1 } logit_bias { key: 1 value: 2 }
      logprobs: 5 prompt_logprobs: 6
    })");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(std::get<std::vector<TokenId>>(request->prompt), ElementsAre(1, 2));
  EXPECT_EQ(request->generate.priority, -3);
  const SamplingParams& sampling = request->generate.sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 4);
  EXPECT_EQ(sampling.min_p, 0.125f);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.presence_penalty, 0.75f);
  EXPECT_EQ(sampling.frequency_penalty, -0.75f);
  EXPECT_EQ(sampling.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(sampling.max_tokens, 7);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_THAT(sampling.stop, ElementsAre("x", "y"));
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(3));
  EXPECT_TRUE(sampling.ignore_eos);
  EXPECT_EQ(sampling.n, 2);
  EXPECT_THAT(sampling.logit_bias, ElementsAre(Pair(1, 2.0f), Pair(9, -1.0f)));
  EXPECT_EQ(sampling.logprobs, 5);
  EXPECT_EQ(sampling.prompt_logprobs, 6);
}

TEST_F(RequestParserTest, ReadsTopKMinusOneAsAll) {
  EXPECT_EQ(Generate("text: 'a' sampling_params { top_k: -1 }")->generate.sampling.top_k, 0);
}

TEST_F(RequestParserTest, DrawsASeedWhereNoneIsGiven) {
  EXPECT_NE(Generate("text: 'a'")->generate.sampling.seed, Generate("text: 'a'")->generate.sampling.seed);
}

TEST_F(RequestParserTest, NamesTheFieldAtFault) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "prompt"},
      {"token_ids { }", "token_ids.ids"},
      {"token_ids { ids: 0 ids: -1 }", "token_ids.ids[1]"},
      {"token_ids { ids: 31 }", "token_ids.ids[0]"},
      {"token_ids { ids: 2147483647 }", "token_ids.ids[0]"},
      {"text: 'a' sampling_params { temperature: -1 }", "sampling_params.temperature"},
      {"text: 'a' sampling_params { temperature: nan }", "sampling_params.temperature"},
      {"text: 'a' sampling_params { temperature: inf }", "sampling_params.temperature"},
      {"text: 'a' sampling_params { top_p: 0 }", "sampling_params.top_p"},
      {"text: 'a' sampling_params { top_p: 1.01 }", "sampling_params.top_p"},
      {"text: 'a' sampling_params { top_k: -2 }", "sampling_params.top_k"},
      {"text: 'a' sampling_params { min_p: 2 }", "sampling_params.min_p"},
      {"text: 'a' sampling_params { repetition_penalty: 0 }", "sampling_params.repetition_penalty"},
      {"text: 'a' sampling_params { presence_penalty: 3 }", "sampling_params.presence_penalty"},
      {"text: 'a' sampling_params { frequency_penalty: -3 }", "sampling_params.frequency_penalty"},
      {"text: 'a' sampling_params { max_tokens: 0 }", "sampling_params.max_tokens"},
      {"text: 'a' sampling_params { max_tokens: -1 }", "sampling_params.max_tokens"},
      {"text: 'a' sampling_params { min_tokens: -1 }", "sampling_params.min_tokens"},
      {"text: 'a' sampling_params { min_tokens: 3 max_tokens: 2 }", "sampling_params.min_tokens"},
      {"text: 'a' sampling_params { stop: '' }", "sampling_params.stop[0]"},
      {"text: 'a' sampling_params { stop_token_ids: 3 stop_token_ids: 31 }", "sampling_params.stop_token_ids[1]"},
      {"text: 'a' sampling_params { n: 0 }", "sampling_params.n"},
      {"text: 'a' sampling_params { n: -5 }", "sampling_params.n"},
      {"text: 'a' sampling_params { n: 2147483647 }", "sampling_params.n"},
      {"text: 'a' sampling_params { logit_bias { key: 31 value: 1 } }", "sampling_params.logit_bias"},
      {"text: 'a' sampling_params { logit_bias { key: 3 value: 101 } }", "sampling_params.logit_bias[3]"},
      {"text: 'a' sampling_params { logprobs: -1 }", "sampling_params.logprobs"},
      {"text: 'a' sampling_params { logprobs: 21 }", "sampling_params.logprobs"},
      {"text: 'a' sampling_params { prompt_logprobs: -1 }", "sampling_params.prompt_logprobs"},
  };
  for (const auto& [text, field] : cases) {
    const auto request = Generate(text);
    EXPECT_TRUE(absl::IsInvalidArgument(request.status())) << text;
    EXPECT_EQ(FieldOf(request.status()), field) << text;
    EXPECT_THAT(std::string(request.status().message()), testing::StartsWith(field)) << text;
  }
}

TEST_F(RequestParserTest, SaysWhatIsServedWhenAskedForAnotherModel) {
  const auto request = Generate("model: 'gpt-5' text: 'a'");
  EXPECT_TRUE(absl::IsNotFound(request.status()));
  EXPECT_THAT(std::string(request.status().message()), HasSubstr("\"letters\""));
}

TEST_F(RequestParserTest, RefusesATextThatCannotFitBeforeTokenisingIt) {
  // Ten tokens of five bytes ("<end>") at most.
  EXPECT_TRUE(Generate("text: '" + std::string(50, 'a') + "'").ok());
  EXPECT_EQ(FieldOf(Generate("text: '" + std::string(51, 'a') + "'").status()), "text");
  EXPECT_EQ(FieldOf(Chat("messages { role: 'user' content: '" + std::string(51, 'a') + "' }").status()), "messages");
}

TEST_F(RequestParserTest, ReadsAConversation) {
  const auto request =
      Chat("messages { role: 'system' content: 'x' } messages { role: 'user' content: '' } priority: 2");
  ASSERT_TRUE(request.ok()) << request.status();
  const Json expected = Json::array({TextMessage("system", "x"), TextMessage("user", "")});
  EXPECT_EQ(std::get<Conversation>(request->prompt).messages, expected);
  EXPECT_EQ(request->generate.priority, 2);
}

TEST_F(RequestParserTest, ReadsToolsAndTheirCalls) {
  const char kTool[] = R"(tools: '{"type": "function", "function": {"name": "f"}}')";
  const auto request = Chat(std::string(kTool) +
                            "messages { role: 'a' tool_calls { id: 'i' name: 'f' arguments: '{}' } } "
                            "messages { role: 'tool' tool_call_id: 'i' content: 'c' name: 'n' }"
                            "chat_template_kwargs: '{\"x\": [1]}' tool_choice: 'f' continue_final_message: true");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& conversation = std::get<Conversation>(request->prompt);
  EXPECT_EQ(conversation.messages[0]["tool_calls"], Json::array({FunctionCall("i", "f", "{}")}));
  EXPECT_EQ(conversation.messages[1].dump(), R"({"role":"tool","content":"c","name":"n","tool_call_id":"i"})");
  EXPECT_EQ(conversation.tools[0]["function"]["name"], "f");
  EXPECT_EQ(conversation.variables["x"][0], 1);
  EXPECT_TRUE(conversation.continue_final_message);
  EXPECT_FALSE(conversation.add_generation_prompt);
  EXPECT_EQ(request->call_syntax, &kPlainCallSyntax) << "enforced, and the model's own form is not known";
  EXPECT_EQ(request->output_format.kind, OutputFormat::Kind::kFrames);
  const auto without = Chat(std::string(kTool) + "messages { role: 'user' } tool_choice: 'none'");
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_TRUE(std::get<Conversation>(without->prompt).tools.is_null()) << "the model does not see them";
}

TEST_F(RequestParserTest, NamesTheToolAtFault) {
  const auto field = [&](const std::string& text) {
    return FieldOf(Chat("messages { role: 'user' } " + text).status());
  };
  EXPECT_EQ(field("tools: '{'"), "tools[0]");
  EXPECT_EQ(field("tools: '{}'"), "tools[0].type");
  EXPECT_EQ(field("tool_choice: 'f'"), "tool_choice.function.name");
  EXPECT_EQ(field("chat_template_kwargs: '[]'"), "chat_template_kwargs");
}

TEST_F(RequestParserTest, NamesTheMessageAtFault) {
  EXPECT_EQ(FieldOf(Chat("").status()), "messages");
  EXPECT_EQ(FieldOf(Chat("messages { role: 'user' } messages { content: 'x' }").status()), "messages[1].role");
  EXPECT_EQ(FieldOf(Chat("messages { role: 'user' } sampling_params { n: 0 }").status()), "sampling_params.n");
}

TEST_F(RequestParserTest, ChecksWhatIsToBeTokenisedAndDetokenised) {
  v1::TokenizeRequest tokenize;
  tokenize.set_text(std::string(1 << 20, 'a'));
  EXPECT_TRUE(parser_.Check(tokenize).ok());
  tokenize.mutable_text()->push_back('a');
  EXPECT_EQ(FieldOf(parser_.Check(tokenize)), "text");
  tokenize.set_model("other");
  EXPECT_TRUE(absl::IsNotFound(parser_.Check(tokenize)));
  const absl::Status bad = parser_.Check(FromText<v1::DetokenizeRequest>("token_ids: 0 token_ids: 31"));
  EXPECT_EQ(FieldOf(bad), "token_ids[1]");
  EXPECT_THAT(std::string(bad.message()), HasSubstr("[0, 31), got 31"));
}

TEST_F(RequestParserTest, ReadsTheFormOfTheAnswer) {
  using Kind = OutputFormat::Kind;
  const auto format = [this](const std::string& text) {
    const auto request = Generate("text: 'ab' sampling_params { output_format { " + text + " } }");
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? request->output_format : OutputFormat();
  };
  EXPECT_EQ(Generate("text: 'ab'")->output_format.kind, Kind::kFree);
  EXPECT_EQ(format("json_object {}").kind, Kind::kJsonObject);
  EXPECT_EQ(format("json_schema: '{}'").kind, Kind::kJsonSchema);
  EXPECT_EQ(format("json_schema: '{}'").field, "sampling_params.output_format.json_schema");
  EXPECT_EQ(format("regex: 'a+'").source, "a+");
  EXPECT_EQ(format("grammar: 'root'").kind, Kind::kGrammar);
  EXPECT_THAT(format("choice { choices: ['a', 'b'] }").choices, ElementsAre("a", "b"));
  EXPECT_EQ(format("structural_tag: '{}'").kind, Kind::kStructuralTag);
  EXPECT_EQ(format("structural_tag: '{}'").source, "{}");
  EXPECT_EQ(format("structural_tag: '{}'").field, "sampling_params.output_format.structural_tag");
  EXPECT_EQ(FieldOf(Chat("messages { role: 'user' } sampling_params { output_format {} }").status()),
            "sampling_params.output_format");
}

}  // namespace
}  // namespace quire
