#include "server/bench/load/openai_client.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/bench/load/http_url.h"

namespace quire {
namespace {

using nlohmann::json;
using Endpoint = TransportOptions::Endpoint;

const LoadRequest kTwoTurns{{{"Hello", {1, 2}}, {" you", {3}}, {" there", {4}}}, 9};

TEST(OpenAiClient, AsksForAStreamWithUsage) {
  const json body = json::parse(OpenAiRequestBody({}, "m", kTwoTurns));
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["prompt"], "Hello you there");
  EXPECT_EQ(body["max_tokens"], 9);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_FALSE(json::parse(OpenAiRequestBody({.ignore_eos = false}, "m", kTwoTurns)).contains("ignore_eos"));
}

TEST(OpenAiClient, SendsTokenIdsOrMessages) {
  const json ids = json::parse(OpenAiRequestBody({.prompt_form = PromptForm::kTokenIds}, "m", kTwoTurns));
  EXPECT_EQ(ids["prompt"], json({1, 2, 3, 4}));
  const json chat = json::parse(OpenAiRequestBody({.endpoint = Endpoint::kChat}, "m", kTwoTurns));
  EXPECT_FALSE(chat.contains("prompt"));
  EXPECT_EQ(chat["messages"], json::parse(R"([{"role": "user", "content": "Hello"},
    {"role": "assistant", "content": " you"}, {"role": "user", "content": " there"}])"));
}

TEST(OpenAiClient, SendsBackAnAnswerThatIsNoUtf8) {
  EXPECT_FALSE(json::parse(OpenAiRequestBody({}, "m", {{{"\xff", {}}}, 1}))["prompt"].get<std::string>().empty());
}

TEST(OpenAiClient, ReadsChunksOfBothEndpoints) {
  EXPECT_EQ(ParseOpenAiChunk(R"({"choices": [{"text": " word"}]})")->text, " word");
  EXPECT_EQ(ParseOpenAiChunk(R"({"choices": [{"delta": {"role": "assistant", "content": ""}}]})")->text, "");
  EXPECT_EQ(ParseOpenAiChunk(R"({"choices": [{"delta": {"content": "word"}}], "usage": null})")->text, "word");
  EXPECT_EQ(ParseOpenAiChunk(R"({"choices": [{"delta": {"reasoning_content": "hm", "content": null}}]})")->text, "hm");
  EXPECT_EQ(ParseOpenAiChunk(R"({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{"}}]}}]})")->text,
            "{");
  const auto usage = ParseOpenAiChunk(R"({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3,
                                          "prompt_tokens_details": {"cached_tokens": 2}}})");
  ASSERT_TRUE(usage->usage);
  EXPECT_EQ(usage->usage->prompt_tokens, 5);
  EXPECT_EQ(usage->usage->cached_tokens, 2);
  EXPECT_EQ(usage->usage->completion_tokens, 3);
}

TEST(OpenAiClient, TakesWhatIsOfAnotherTypeAsNotThere) {
  for (const char* odd : {R"({})", R"({"choices": 7})", R"({"choices": [null]})", R"({"choices": [{"text": 5}]})",
                          R"({"choices": [{"delta": []}]})", R"({"usage": [1]})"}) {
    const auto chunk = ParseOpenAiChunk(odd);
    ASSERT_TRUE(chunk.ok()) << odd;
    EXPECT_EQ(chunk->text, "");
  }
  EXPECT_EQ(ParseOpenAiChunk(R"({"usage": {"prompt_tokens": -5, "completion_tokens": 1e300}})")->usage->prompt_tokens,
            0);
  for (const char* wrong : {"", "[", "[]", "7", "\xff", "{\"choices\""}) EXPECT_FALSE(ParseOpenAiChunk(wrong).ok());
}

TEST(OpenAiClient, FindsTheMessageOfAnError) {
  EXPECT_EQ(OpenAiErrorMessage(R"({"error": {"message": "too long", "code": 400}})"), "too long");
  EXPECT_EQ(OpenAiErrorMessage(R"({"error": "no model"})"), "no model");
  EXPECT_EQ(OpenAiErrorMessage(R"({"object": "error", "message": "busy"})"), "busy");
  EXPECT_EQ(OpenAiErrorMessage("<html>502</html>"), "<html>502</html>");
  EXPECT_EQ(ParseOpenAiChunk(R"({"error": {"message": "lost"}})")->error, "lost");
}

TEST(OpenAiClient, FindsTheFirstModel) {
  EXPECT_EQ(FirstOpenAiModel(R"({"data": [{"id": "a"}, {"id": "b"}]})"), "a");
  for (const char* none : {"", "{}", R"({"data": []})", R"({"data": [{"id": 5}]})"})
    EXPECT_EQ(FirstOpenAiModel(none), "");
}

TEST(HttpUrl, IsTakenApart) {
  const auto plain = ParseHttpUrl("http://localhost");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->host, "localhost");
  EXPECT_EQ(plain->port, "80");
  EXPECT_EQ(plain->path, "");
  const auto full = ParseHttpUrl("http://[::1]:8080/api/v1/");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->host, "::1");
  EXPECT_EQ(full->port, "8080");
  EXPECT_EQ(full->path, "/api");
  EXPECT_EQ(full->authority, "[::1]:8080");
  for (const char* wrong :
       {"", "localhost:80", "https://x", "http://", "http://:80", "http://x:", "http://x:y", "http://[::1"}) {
    EXPECT_FALSE(ParseHttpUrl(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace quire
