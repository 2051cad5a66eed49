#include "server/http/openai/response_request.h"

#include <gmock/gmock.h>

#include <set>
#include <string>

#include "server/status_details.h"
#include "tests/server/http/http_request_fixture.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

class ResponseRequestTest : public HttpRequestFixture {
 protected:
  absl::StatusOr<ResponseRequest> Parse(const std::string& fields) {
    return ParseResponseRequest(ParseJson("{" + fields + "}").value(), *checks_);
  }
  static std::string Messages(const absl::StatusOr<ResponseRequest>& request) {
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? std::get<Conversation>(request->generation.prompt).messages.dump() : "";
  }
  void ExpectComplaint(const std::string& fields, const std::string& field) {
    ExpectComplaintAbout(field, Parse(fields).status());
  }
};

TEST_F(ResponseRequestTest, PutsItemsIntoTheMessagesThatTemplatesKnow) {
  EXPECT_EQ(Messages(Parse(R"("instructions": "s", "input": "a")")),
            R"([{"role":"system","content":"s"},{"role":"user","content":"a"}])");
  EXPECT_EQ(Messages(Parse(R"("input": [{"role": "developer", "content": "s"},
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
      {"type": "reasoning", "summary": []},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
      {"type": "function_call", "call_id": "i", "name": "f", "arguments": "{}"},
      {"type": "function_call", "call_id": "j", "name": "g", "arguments": "1"},
      {"type": "function_call_output", "call_id": "i", "output": [{"type": "input_text", "text": "r"}]}])")),
            R"([{"role":"system","content":"s"},{"role":"user","content":"a\nb"},{"role":"assistant","content":"c",)"
            R"("tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":"{}"}},)"
            R"({"id":"j","type":"function","function":{"name":"g","arguments":"1"}}]},)"
            R"({"role":"tool","content":"r","tool_call_id":"i"}])");
}

TEST_F(ResponseRequestTest, GoesOnWithWhatIsStoredUnderInstructionsOfItsOwn) {
  ResponseStore store(1 << 20);
  const std::string stored = R"({"role":"user","content":"a"},{"role":"assistant","content":[]})";
  store.Add(ResponseKey("", "r"), {.response = "", .items = stored});
  auto request = Parse(R"("input": "c", "instructions": "s", "previous_response_id": "r")");
  ASSERT_TRUE(request.ok());
  const std::string items = request->items;
  request = WithHistory(*std::move(request), store, *checks_);
  EXPECT_EQ(Messages(request), R"([{"role":"system","content":"s"},{"role":"user","content":"a"},)"
                               R"({"role":"assistant","content":""},{"role":"user","content":"c"}])");
  EXPECT_EQ(request->items, stored + "," + items);

  const absl::Status gone =
      WithHistory(*Parse(R"("input": "c", "previous_response_id": "x")"), store, *checks_).status();
  EXPECT_EQ(FieldOf(gone), "previous_response_id");
  EXPECT_EQ(ReasonOf(gone), "PREVIOUS_RESPONSE_NOT_FOUND");
}

TEST_F(ResponseRequestTest, KeepsItemsInFullUnderIdsOfTheirOwn) {
  const auto request = Parse(R"("input": [{"role": "user", "content": "a"},
      {"type": null, "id": "x", "role": "user", "content": ["b", {"type": "text", "text": "c"}]},
      {"role": "assistant", "content": [{"type": "output_text", "text": "d"}], "status": 3},
      {"type": "function_call", "call_id": "i", "name": "f", "arguments": "{}"}])");
  ASSERT_TRUE(request.ok()) << request.status();
  Json items = Json::parse("[" + request->items + "]");
  std::set<std::string> ids;
  for (Json& item : items) {
    EXPECT_THAT(item["id"].get<std::string>(), ::testing::StartsWith("item_"));
    ids.insert(item["id"]);
    item.erase("id");
  }
  EXPECT_EQ(ids.size(), 4u);
  EXPECT_EQ(items, Json::parse(R"([
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}], "status": "completed"},
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"},
       {"type": "input_text", "text": "c"}], "status": "completed"},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "d", "annotations": []}],
       "status": "completed"},
      {"type": "function_call", "call_id": "i", "name": "f", "arguments": "{}", "status": "completed"}])"));
  EXPECT_NE(Json::parse(Parse(R"("input": "a")")->items)["id"], Json::parse(Parse(R"("input": "a")")->items)["id"]);
}

TEST_F(ResponseRequestTest, WantsLogProbabilitiesWhereTheyAreToBeIncluded) {
  const auto wanted = [this](const std::string& fields) {
    const auto request = Parse(R"("input": "a", )" + fields);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? request->generation.generate.sampling.logprobs : -2;
  };
  EXPECT_EQ(wanted(R"("include": ["message.output_text.logprobs"])"), 0);
  EXPECT_EQ(wanted(R"("include": ["message.output_text.logprobs"], "top_logprobs": 20)"), 20);
  EXPECT_EQ(wanted(R"("include": ["reasoning.encrypted_content"], "top_logprobs": 20)"), -1);
  EXPECT_EQ(wanted(R"("include": null)"), -1);
  ExpectComplaint(R"("input": "a", "include": ["x"])", "include[0]");
  ExpectComplaint(R"("input": "a", "include": "message.output_text.logprobs")", "include");
  ExpectComplaint(R"("input": "a", "top_logprobs": 21)", "top_logprobs");
  ExpectComplaint(R"("input": "a", "top_logprobs": -1)", "top_logprobs");
}

TEST_F(ResponseRequestTest, RepeatsSettingsWithTheirDefaults) {
  const auto request = Parse(R"("input": "c", "temperature": 0.5, "metadata": {"a": "b"}, "store": false)");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->settings["temperature"], 0.5);
  EXPECT_EQ(request->settings["top_p"], 1.0);
  EXPECT_EQ(request->settings["metadata"].dump(), R"({"a":"b"})");
  EXPECT_EQ(request->settings["tool_choice"], "auto");
  EXPECT_EQ(request->items, "");
}

TEST_F(ResponseRequestTest, BoundsWhatAnAnswerRepeats) {
  const absl::Status status =
      Parse(R"("input": "c", "metadata": {"a": ")" + std::string(600'000, 'x') + "\"}").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 524288 bytes"));
}

TEST_F(ResponseRequestTest, NamesTheFieldAtFault) {
  ExpectComplaint("\"a\": 1", "input");
  const auto with = [](const std::string& fields) { return R"("input": "a", )" + fields; };
  ExpectComplaint(R"("input": 1)", "input");
  ExpectComplaint(R"("input": [])", "input");
  ExpectComplaint(R"("input": [1])", "input[0]");
  ExpectComplaint(R"("input": [{"role": "user"}])", "input[0].content");
  ExpectComplaint(R"("input": [{"type": "function_call", "call_id": "i", "name": "f"}])", "input[0].arguments");
  ExpectComplaint(R"("input": [{"role": "user", "content": [{"type": "input_file"}]}])", "input[0].content[0].type");
  ExpectComplaint(with(R"("instructions": 1)"), "instructions");
  ExpectComplaint(with(R"("max_output_tokens": 0)"), "max_output_tokens");
  ExpectComplaint(with(R"("background": true)"), "background");
  ExpectComplaint(with(R"("conversation": "c")"), "conversation");
  ExpectComplaint(with(R"("tools": [{"type": "mcp"}])"), "tools[0].type");
  ExpectComplaint(with(R"("tools": [{"type": "function", "name": ""}])"), "tools[0].name");
  ExpectComplaint(with(R"("tool_choice": {"type": "allowed_tools"})"), "tool_choice.type");
  ExpectComplaint(with(R"("text": {"format": {"type": "xml"}})"), "text.format.type");
  ExpectComplaint(with(R"("metadata": {"a": 1})"), "metadata.a");
  ExpectComplaint(with(R"("user": [])"), "user");
}

}  // namespace
}  // namespace quire
