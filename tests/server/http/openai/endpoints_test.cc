// Requests and answers of the OpenAI endpoints, over sockets, with a model whose answers are known in advance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/http/json.h"
#include "tests/server/http/letters_server.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Greedy and past end tokens, so that the answer is known and as long as asked for.
std::string Greedy(const std::string& fields) { return "{\"temperature\": 0, \"ignore_eos\": true, " + fields + "}"; }

class OpenAiEndpointsTest : public ::testing::Test {
 protected:
  Json Ok(const std::string& path, const std::string& body) {
    const HttpReply reply = server_.Post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return Json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  }
  Json Error(int status, const std::string& path, const std::string& body) {
    const HttpReply reply = server_.Post(path, body);
    EXPECT_EQ(reply.status, status) << reply.body;
    return Json::parse(reply.body)["error"];
  }
  // All events but "[DONE]", which is the last one.
  std::vector<Json> Stream(const std::string& path, const std::string& body) {
    HttpReply reply = server_.Post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_THAT(reply.headers["content-type"], HasSubstr("text/event-stream"));
    EXPECT_TRUE(reply.complete);
    std::vector<std::string> events = reply.Events();
    EXPECT_EQ(events.back(), "[DONE]");
    events.pop_back();
    std::vector<Json> result;
    for (const std::string& event : events) result.push_back(Json::parse(event));
    return result;
  }
  LettersServer server_;
};

TEST_F(OpenAiEndpointsTest, CompletesAText) {
  const Json answer = Ok("/v1/completions", Greedy(R"("prompt": "tell me", "max_tokens": 20, "model": "letters")"));
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_EQ(answer["model"], "letters");
  EXPECT_EQ(answer["choices"].size(), 1u);
  EXPECT_EQ(answer["choices"][0]["text"], server_.ExpectedText("tell me", 20));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 7);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 20);
  EXPECT_EQ(answer["usage"]["total_tokens"], 27);
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST_F(OpenAiEndpointsTest, PutsTheChoicesOfAllPromptsInOrder) {
  const Json answer = Ok("/v1/completions", Greedy(R"("prompt": ["one", [1, 2], "three"], "max_tokens": 5, "n": 2)"));
  ASSERT_EQ(answer["choices"].size(), 6u);
  const std::vector<std::string> prompts = {"one", "bc", "three"};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(answer["choices"][i]["index"], i);
    EXPECT_EQ(answer["choices"][i]["text"], server_.ExpectedText(prompts[i / 2], 5));
  }
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3 + 2 + 5);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 30);
}

TEST_F(OpenAiEndpointsTest, StreamsWhatItWouldHaveSaidAtOnce) {
  const std::vector<Json> events =
      Stream("/v1/completions", Greedy(R"("prompt": ["one", "two"], "max_tokens": 30, "stream": true,
                                   "stream_options": {"include_usage": true})"));
  std::vector<std::string> texts(2), reasons(2);
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    ASSERT_EQ(events[i]["choices"].size(), 1u);
    EXPECT_TRUE(events[i].at("usage").is_null());
    const Json& choice = events[i]["choices"][0];
    texts[choice["index"].get<int>()] += choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) reasons[choice["index"].get<int>()] += choice["finish_reason"];
  }
  EXPECT_THAT(texts, ElementsAre(server_.ExpectedText("one", 30), server_.ExpectedText("two", 30)));
  EXPECT_THAT(reasons, ElementsAre("length", "length"));
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 60);
}

TEST_F(OpenAiEndpointsTest, RepeatsThePromptWithItsProbabilities) {
  for (const char* prompt : {"\"abc\"", "[0, 1, 2]"}) {
    const Json answer =
        Ok("/v1/completions",
           Greedy(absl::StrCat("\"max_tokens\": 2, \"echo\": true, \"logprobs\": 1, \"prompt\": ", prompt)));
    const Json& choice = answer["choices"][0];
    EXPECT_EQ(choice["text"], "abc" + server_.ExpectedText("abc", 2));
    const Json& logprobs = choice["logprobs"];
    ASSERT_EQ(logprobs["tokens"].size(), 5u);
    EXPECT_EQ(logprobs["tokens"][2], "c");
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    EXPECT_LE(logprobs["token_logprobs"][1].get<double>(), 0);
    EXPECT_EQ(logprobs["top_logprobs"][1]["b"], logprobs["token_logprobs"][1]);
    EXPECT_EQ(logprobs["text_offset"][3], 3);
    EXPECT_EQ(answer["usage"]["completion_tokens"], 2);
  }
}

TEST_F(OpenAiEndpointsTest, ScoresAPromptWithoutContinuingIt) {
  const std::string body = R"("max_tokens": 0, "echo": true, "logprobs": 1, "prompt": "abc")";
  const Json answer = Ok("/v1/completions", Greedy(body));
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), 3u);
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
  const std::vector<Json> events = Stream("/v1/completions", Greedy(body + R"(, "stream": true)"));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["logprobs"], choice["logprobs"]);
}

TEST_F(OpenAiEndpointsTest, AnswersAConversation) {
  const std::string messages = R"("messages": [{"role": "user", "content": "hello"}], "max_tokens": 12)";
  const std::string expected = server_.ExpectedText("user hello assistant ", 12);
  const Json answer = Ok("/v1/chat/completions", Greedy(messages + R"(, "logprobs": true, "top_logprobs": 2)"));
  EXPECT_EQ(answer["object"], "chat.completion");
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], expected);
  ASSERT_EQ(choice["logprobs"]["content"].size(), 12u);
  // The model finds a single token possible.
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 1u);

  const std::vector<Json> events = Stream("/v1/chat/completions", Greedy(messages + R"(, "stream": true, "n": 2)"));
  std::vector<std::string> texts(2);
  std::vector<bool> begun(2), ended(2);
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    EXPECT_EQ(event["id"], events[0]["id"]);
    const Json& piece = event["choices"][0];
    const int index = piece["index"];
    EXPECT_EQ(piece["delta"].contains("role"), !begun[index]);
    begun[index] = true;
    texts[index] += piece["delta"].value("content", "");
    EXPECT_FALSE(ended[index]);
    ended[index] = !piece["finish_reason"].is_null();
  }
  EXPECT_THAT(texts, ElementsAre(expected, expected));
  EXPECT_THAT(ended, ElementsAre(true, true));
}

TEST_F(OpenAiEndpointsTest, StopsAtAStopString) {
  const std::string whole = server_.ExpectedText("tell me", 40);
  const std::string stop = whole.substr(12, 3);
  const Json answer =
      Ok("/v1/completions", Greedy(R"("prompt": "tell me", "max_tokens": 40, "stop": [")" + stop + "\"]"));
  EXPECT_EQ(answer["choices"][0]["text"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
}

TEST_F(OpenAiEndpointsTest, TellsWhatIsWrongBeforeItBegins) {
  EXPECT_EQ(Error(400, "/v1/chat/completions", "{")["type"], "invalid_request_error");
  EXPECT_EQ(Error(400, "/v1/completions", R"({"prompt": "a", "top_p": 3})")["param"], "top_p");
  EXPECT_EQ(Error(404, "/v1/completions", R"({"prompt": "a", "model": "b"})")["code"], "model_not_found");
  // What only the text worker and the engine find out, of streams, too.
  EXPECT_THAT(Error(400, "/v1/completions", R"({"prompt": "no!", "stream": true})")["message"].get<std::string>(),
              HasSubstr("exclamation mark"));
  EXPECT_EQ(Error(400, "/v1/completions", R"({"prompt": "a", "max_tokens": 100000, "stream": true})")["param"],
            "max_tokens");
  EXPECT_EQ(Error(500, "/v1/completions", R"({"prompt": "why?"})")["type"], "server_error");
  EXPECT_EQ(Error(400, "/v1/completions", R"({"prompt": ["fine", "no!"]})")["param"], "prompt[1]");
}

TEST_F(OpenAiEndpointsTest, RefusesWhatIsTooMuchWithAHint) {
  std::string prompts;
  for (int i = 0; i <= LettersPipeline::kMaxRequests; ++i) absl::StrAppend(&prompts, i == 0 ? "" : ", ", "\"a\"");
  HttpReply reply = server_.Post("/v1/completions", Greedy("\"prompt\": [" + prompts + "], \"max_tokens\": 3000"));
  EXPECT_EQ(reply.status, 429) << reply.body;
  EXPECT_EQ(reply.headers.count("retry-after"), 1u);
}

TEST_F(OpenAiEndpointsTest, HangingUpEndsTheRequest) {
  for (const char* stream : {"true", "false"}) {
    HttpClient client(server_.port());
    const std::string body =
        Greedy(absl::StrCat("\"prompt\": \"go on\", \"max_tokens\": 4000, \"n\": 2, \"stream\": ", stream));
    client.Send(
        absl::StrCat("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
    while (server_.Stats().requests_running == 0) {
    }
    client.Close();
    EXPECT_TRUE(server_.pipeline().AwaitNoStreams(absl::Now() + absl::Seconds(30)));
    EXPECT_EQ(server_.Stats().blocks.used, 0);
  }
  EXPECT_LT(server_.Stats().completion_tokens_total, 4u * 4000);
}

TEST_F(OpenAiEndpointsTest, HealthFollowsTheDrain) {
  EXPECT_EQ(server_.Get("/health").status, 200);
  server_.pipeline().StopAdmitting();
  EXPECT_EQ(server_.Get("/health").status, 503);
  EXPECT_EQ(Error(503, "/v1/completions", R"({"prompt": "a"})")["code"], "shutting_down");
}

TEST_F(OpenAiEndpointsTest, ListsTheModel) {
  const Json list = Json::parse(server_.Get("/v1/models").body);
  EXPECT_EQ(list["data"][0]["id"], "letters");
  EXPECT_EQ(list["data"][0]["max_model_len"], LettersServer::kMaxModelLen);
  EXPECT_EQ(Json::parse(server_.Get("/v1/models/letters").body), list["data"][0]);
  EXPECT_EQ(server_.Get("/v1/models/others").status, 404);
}

TEST_F(OpenAiEndpointsTest, TokenizesAndBack) {
  EXPECT_EQ(Json::parse(server_.Get("/tokenizer_info").body)["eos_token"], "<end>");
  const Json tokens = Ok("/tokenize", R"({"prompt": "abc", "return_token_strs": true})");
  EXPECT_THAT(tokens["tokens"].get<std::vector<int>>(), ElementsAre(0, 1, 2));
  EXPECT_EQ(tokens["count"], 3);
  EXPECT_THAT(tokens["token_strs"].get<std::vector<std::string>>(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(Ok("/tokenize", R"({"messages": [{"role": "user", "content": "a"}]})")["count"], 17);
  EXPECT_EQ(Ok("/detokenize", R"({"tokens": [2, 1, 0]})")["prompt"], "cba");
  EXPECT_EQ(Error(400, "/tokenize", "{}")["param"], "prompt");
  EXPECT_EQ(Error(400, "/detokenize", R"({"tokens": [99]})")["param"], "tokens[0]");
}

// Bodies this long are read by another thread.
TEST_F(OpenAiEndpointsTest, ReadsLongBodiesTheSame) {
  const std::string prompt(3'000, 'x');
  const std::string padding(100'000, 'y');
  const Json answer =
      Ok("/v1/completions", Greedy("\"prompt\": \"" + prompt + "\", \"max_tokens\": 3, \"user\": \"" + padding + "\""));
  EXPECT_EQ(answer["choices"][0]["text"], server_.ExpectedText(prompt, 3));
  EXPECT_EQ(Error(400, "/v1/completions", "{\"user\": \"" + padding + "\"}")["param"], "prompt");
}

TEST_F(OpenAiEndpointsTest, TellsLogProbabilitiesOfAResponsesTextWhereTheyAreIncluded) {
  const std::string fields = R"("input": "tell me", "max_output_tokens": 6, "top_logprobs": 2)";
  const Json plain = Ok("/v1/responses", Greedy(fields));
  EXPECT_EQ(plain["output"][0]["content"][0]["logprobs"], Json::array());
  const std::string wanted = fields + R"(, "include": ["message.output_text.logprobs"])";
  const Json answer = Ok("/v1/responses", Greedy(wanted));
  const Json part = answer["output"][0]["content"][0];
  std::string tokens;
  for (const Json& entry : part["logprobs"]) {
    tokens += entry["token"].get<std::string>();
    EXPECT_EQ(entry["top_logprobs"].size(), 1u);  // Greedy answers of this model know no more.
  }
  EXPECT_EQ(tokens, part["text"]);
  EXPECT_EQ(answer["top_logprobs"], 2);

  const HttpReply reply = server_.Post("/v1/responses", Greedy(wanted + R"(, "stream": true)"));
  Json streamed = Json::array(), ends = Json::array();
  for (const absl::string_view lines : absl::StrSplit(reply.body, "\n\n", absl::SkipEmpty())) {
    const Json event = Json::parse(std::string(lines.substr(lines.find("data: ") + 6)));
    if (event["type"] == "response.output_text.delta") {
      for (const Json& entry : event["logprobs"]) streamed.push_back(entry);
    } else if (event["type"] == "response.output_text.done") {
      ends.push_back(event["logprobs"]);
    } else if (event["type"] == "response.content_part.done") {
      ends.push_back(event["part"]["logprobs"]);
    } else if (event["type"] == "response.incomplete") {
      ends.push_back(event["response"]["output"][0]["content"][0]["logprobs"]);
    }
  }
  EXPECT_EQ(streamed, part["logprobs"]);
  EXPECT_EQ(ends, Json::array({streamed, streamed, streamed}));
}

TEST_F(OpenAiEndpointsTest, ListsWhatAResponseAnswered) {
  const Json first = Ok("/v1/responses", Greedy(R"("input": "one", "max_output_tokens": 3)"));
  const std::string id = first["id"];
  const Json second =
      Ok("/v1/responses",
         Greedy(absl::StrCat(R"("input": "two", "max_output_tokens": 3, "previous_response_id": ")", id, "\"")));
  const auto list = [this](const std::string& of, const std::string& query) {
    const HttpReply reply = server_.Get(absl::StrCat("/v1/responses/", of, "/input_items", query));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return Json::parse(reply.body)["data"];
  };
  EXPECT_EQ(list(id, "")[0]["content"][0]["text"], "one");
  const Json items = list(second["id"], "?order=asc");
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0], list(id, "")[0]);
  EXPECT_EQ(items[1], first["output"][0]);
  EXPECT_EQ(items[2]["content"][0]["text"], "two");
  EXPECT_EQ(list(second["id"], "?limit=1&after=" + items[2]["id"].get<std::string>())[0], items[1]);
  EXPECT_EQ(server_.Get("/v1/responses/x/input_items").status, 404);
  EXPECT_EQ(server_.Get("/v1/responses/" + id + "/input_items?limit=0").status, 400);
  EXPECT_EQ(server_.Get("/v1/responses/" + id + "?stream=true").status, 400);
}

}  // namespace
}  // namespace quire
