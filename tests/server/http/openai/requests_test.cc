// What bodies of /v1/completions and /v1/chat/completions are read as, and what is wrong with those that are not.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/http/openai/chat_request.h"
#include "server/http/openai/completion_request.h"
#include "server/status_details.h"
#include "tests/server/http/http_request_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class OpenAiRequestsTest : public HttpRequestFixture {
 protected:
  absl::StatusOr<ChatRequest> Chat(const std::string& fields) {
    return ParseChatRequest(Json::parse(R"({"messages": [{"role": "user", "content": "hi"}])" + fields + "}"),
                            *checks_);
  }
  absl::StatusOr<ChatRequest> ChatOf(const std::string& messages) {
    return ParseChatRequest(Json::parse("{\"messages\": " + messages + "}"), *checks_);
  }
  absl::StatusOr<CompletionRequest> Completion(const std::string& fields) {
    return ParseCompletionRequest(Json::parse("{" + fields + "}"), *checks_);
  }
  template <typename Request>
  static std::string FieldAtFault(const absl::StatusOr<Request>& request) {
    return FieldOf(request.status());
  }
  static std::vector<std::string> Contents(const ChatRequest& request) {
    std::vector<std::string> contents;
    for (const Json& message : std::get<Conversation>(request.generation.prompt).messages) {
      contents.push_back(message.at("content"));
    }
    return contents;
  }
};

TEST_F(OpenAiRequestsTest, ReadsAllThatSamplingHas) {
  const auto request = Chat(R"(, "model": "letters", "temperature": 0.5, "top_p": 0.9, "top_k": -1, "min_p": 0.1,
      "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": -0.2, "seed": -1, "max_tokens": 5,
      "min_tokens": 2, "stop": "x", "stop_token_ids": [3], "ignore_eos": true, "n": 2, "logit_bias": {"4": 1, "2": -5},
      "logprobs": true, "top_logprobs": 3, "priority": -4, "stream": true, "stream_options": {"include_usage": true},
      "user": "me", "metadata": {}, "store": false, "anything": [1, 2])");
  ASSERT_TRUE(request.ok()) << request.status();
  const SamplingParams& sampling = request->generation.generate.sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.min_p, 0.1f);
  EXPECT_EQ(sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(sampling.presence_penalty, 0.2f);
  EXPECT_EQ(sampling.frequency_penalty, -0.2f);
  EXPECT_EQ(sampling.seed, ~uint64_t{0});
  EXPECT_EQ(sampling.max_tokens, 5);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_THAT(sampling.stop, ElementsAre("x"));
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(3));
  EXPECT_TRUE(sampling.ignore_eos);
  EXPECT_EQ(sampling.n, 2);
  EXPECT_THAT(sampling.logit_bias, ElementsAre(Pair(2, -5.0f), Pair(4, 1.0f)));
  EXPECT_EQ(sampling.logprobs, 3);
  EXPECT_EQ(request->generation.generate.priority, -4);
  EXPECT_TRUE(request->options.stream);
  EXPECT_TRUE(request->options.include_usage);
}

TEST_F(OpenAiRequestsTest, RefusesWhatItWouldBeMisleadingToIgnore) {
  for (const char* name :
       {"functions", "use_beam_search", "bad_words", "allowed_token_ids", "include_stop_str_in_output",
        "truncate_prompt_tokens", "prompt_logprobs", "chat_template"}) {
    const std::string field = ", \"" + std::string(name) + "\": ";
    for (const char* asks : {"true", "0", "\"x\"", "[1]", "{\"a\": 1}"}) {
      EXPECT_EQ(FieldAtFault(Chat(field + asks)), name) << asks;
    }
    for (const char* asks_nothing : {"null", "false", "\"\"", "[]", "{}"}) EXPECT_TRUE(Chat(field + asks_nothing).ok());
    EXPECT_EQ(FieldAtFault(Completion(R"("prompt": "a")" + field + "1")), name);
  }
}

TEST_F(OpenAiRequestsTest, HasTheDefaultsThatClientsKnow) {
  const auto chat = Chat("");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->generation.generate.sampling.temperature, 1.0f);
  EXPECT_EQ(chat->generation.generate.sampling.max_tokens, 0);
  EXPECT_EQ(chat->generation.generate.sampling.logprobs, -1);
  EXPECT_FALSE(chat->options.stream);
  EXPECT_EQ(Chat(R"(, "max_tokens": 3, "max_completion_tokens": 7)")->generation.generate.sampling.max_tokens, 7);
  const auto completion = Completion(R"("prompt": "a")");
  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_EQ(completion->generate.sampling.max_tokens, 16);
}

TEST_F(OpenAiRequestsTest, TakesContentAsTextOrAsParts) {
  const auto request = ChatOf(R"([{"role": "system", "content": "a"}, {"role": "assistant", "content": null},
      {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]}])");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(Contents(*request), ElementsAre("a", "", "b\nc"));
}

TEST_F(OpenAiRequestsTest, NamesWhatIsWrongWithMessages) {
  EXPECT_EQ(FieldAtFault(ChatOf("null")), "messages");
  EXPECT_EQ(FieldAtFault(ChatOf("[]")), "messages");
  EXPECT_EQ(FieldAtFault(ChatOf("[1]")), "messages[0]");
  EXPECT_EQ(FieldAtFault(ChatOf(R"([{"content": "x"}])")), "messages[0].role");
  EXPECT_EQ(FieldAtFault(ChatOf(R"([{"role": "user", "content": 3}])")), "messages[0].content");
  EXPECT_EQ(FieldAtFault(ChatOf(R"([{"role": "user", "content": [{"type": "image_url"}]}])")),
            "messages[0].content[0].type");
  EXPECT_EQ(FieldAtFault(ChatOf(R"([{"role": "user", "content": [{"type": "text"}]}])")),
            "messages[0].content[0].text");
  EXPECT_EQ(FieldAtFault(ChatOf(R"([{"role": "user", "content": ")" + std::string(10'000, 'x') + "\"}]")), "messages");
}

TEST_F(OpenAiRequestsTest, NamesWhatIsWrongWithOtherFields) {
  const std::vector<std::pair<std::string, std::string>> wrong = {{"temperature", "\"hot\""},
                                                                  {"temperature", "-1"},
                                                                  {"max_tokens", "0"},
                                                                  {"max_completion_tokens", "1.5"},
                                                                  {"n", "0"},
                                                                  {"n", "[]"},
                                                                  {"stop", "[1]"},
                                                                  {"stop", "{}"},
                                                                  {"logit_bias", "[]"},
                                                                  {"seed", "1e30"},
                                                                  {"logprobs", "1"},
                                                                  {"top_logprobs", "3"},
                                                                  {"stream", "\"yes\""},
                                                                  {"model", "7"},
                                                                  {"stream_options", "{}"}};
  for (const auto& [field, value] : wrong) {
    const std::string at_fault = FieldAtFault(Chat(", \"" + field + "\": " + value));
    EXPECT_THAT(at_fault, HasSubstr(field)) << value;
  }
  EXPECT_EQ(FieldAtFault(Chat(R"(, "logit_bias": {"x": 1})")), "logit_bias");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "logit_bias": {"1": "x"})")), "logit_bias[1]");
  EXPECT_TRUE(absl::IsNotFound(Chat(R"(, "model": "other")").status()));
}

TEST_F(OpenAiRequestsTest, TakesPromptsInEachForm) {
  // Texts as they are, tokens in brackets.
  const auto prompts = [this](const std::string& prompt) {
    std::vector<std::string> result;
    const auto request = Completion("\"prompt\": " + prompt);
    EXPECT_TRUE(request.ok()) << request.status();
    for (const CompletionPrompt& item : request->prompts) {
      const auto* tokens = std::get_if<std::vector<TokenId>>(&item.prompt);
      result.push_back(tokens == nullptr ? std::get<std::string>(item.prompt)
                                         : absl::StrCat("[", absl::StrJoin(*tokens, ","), "]"));
    }
    return result;
  };
  EXPECT_THAT(prompts("\"ab\""), ElementsAre("ab"));
  EXPECT_THAT(prompts("[\"a\", \"b\"]"), ElementsAre("a", "b"));
  EXPECT_THAT(prompts("[1, 2]"), ElementsAre("[1,2]"));
  EXPECT_THAT(prompts("[[1], \"b\"]"), ElementsAre("[1]", "b"));
}

TEST_F(OpenAiRequestsTest, NamesWhatIsWrongWithPrompts) {
  const auto at_fault = [this](const std::string& prompt) { return FieldAtFault(Completion("\"prompt\": " + prompt)); };
  EXPECT_EQ(at_fault("null"), "prompt");
  EXPECT_EQ(at_fault("{}"), "prompt");
  EXPECT_EQ(at_fault("[]"), "prompt");
  EXPECT_EQ(at_fault("[1, 1000]"), "prompt[1]");
  EXPECT_EQ(at_fault("[1, \"x\"]"), "prompt[1]");
  EXPECT_EQ(at_fault("[\"x\", 1]"), "prompt[1]");
  EXPECT_EQ(at_fault("[[1], [2, -1]]"), "prompt[1][1]");
  EXPECT_EQ(at_fault("[[1], []]"), "prompt[1]");
}

TEST_F(OpenAiRequestsTest, RefusesWhatItCannotDoAndSaysWhy) {
  EXPECT_EQ(FieldAtFault(Completion(R"("prompt": "a", "suffix": "b")")), "suffix");
  EXPECT_EQ(FieldAtFault(Completion(R"("prompt": "a", "best_of": 3)")), "best_of");
  EXPECT_TRUE(Completion(R"("prompt": "a", "best_of": 3, "n": 3)").ok());
  EXPECT_EQ(FieldAtFault(Completion(R"("prompt": "a", "max_tokens": -1)")), "max_tokens");
}

TEST_F(OpenAiRequestsTest, ScoresThePromptWhereItIsEchoed) {
  const auto request = Completion(R"("prompt": "a", "echo": true, "logprobs": 1, "max_tokens": 0)");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->generate.sampling.prompt_logprobs, 1);
  EXPECT_EQ(request->generate.sampling.max_tokens, 1);
  EXPECT_TRUE(request->no_output);
  EXPECT_EQ(Completion(R"("prompt": "a", "logprobs": 1)")->generate.sampling.prompt_logprobs, -1);
}

TEST_F(OpenAiRequestsTest, ReadsTheFormOfTheAnswer) {
  using Kind = OutputFormat::Kind;
  const auto form = [this](const std::string& fields) {
    const auto request = Chat(", " + fields);
    EXPECT_TRUE(request.ok()) << request.status();
    return request->generation.output_format;
  };
  EXPECT_EQ(form(R"("response_format": {"type": "text"})").kind, Kind::kFree);
  EXPECT_EQ(form(R"("response_format": {"type": "json_object"})").kind, Kind::kJsonObject);
  const OutputFormat schema = form(
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "x", "a": 1}}})");
  EXPECT_EQ(schema.kind, Kind::kJsonSchema);
  EXPECT_EQ(schema.source, R"({"type":"x","a":1})");
  EXPECT_EQ(form(R"("structured_outputs": {"regex": "a+"})").source, "a+");
  EXPECT_EQ(form(R"("guided_grammar": "root ::= x")").kind, Kind::kGrammar);
  EXPECT_EQ(form(R"("guided_json": "{}")").source, "{}");
  EXPECT_THAT(form(R"("guided_choice": ["a", "b"])").choices, ElementsAre("a", "b"));
  const OutputFormat tag = form(R"("response_format": {"type": "structural_tag", "format": {"a": 1}})");
  EXPECT_EQ(tag.kind, Kind::kStructuralTag);
  EXPECT_EQ(tag.source, R"({"type":"structural_tag","format":{"a":1}})");
  EXPECT_EQ(tag.field, "response_format");
  EXPECT_EQ(form(R"("structured_outputs": {"structural_tag": "{\"format\": {}}"})").source, R"({"format": {}})");
  EXPECT_EQ(form(R"("structured_outputs": {"structural_tag": {"format": {}}})").source, R"({"format":{}})");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "structured_outputs": {"structural_tag": 3})")),
            "structured_outputs.structural_tag");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "response_format": {"type": "xml"})")), "response_format.type");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "response_format": {"type": "json_schema"})")),
            "response_format.json_schema.schema");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "guided_regex": "a", "guided_json": {})")), "guided_regex");
  EXPECT_EQ(FieldAtFault(Chat(R"(, "guided_choice": [])")), "guided_choice");
}

}  // namespace
}  // namespace quire
