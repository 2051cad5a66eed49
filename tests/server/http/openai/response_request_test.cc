#include "server/http/openai/response_request.h"

#include <gmock/gmock.h>

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
  store.Add(ResponseKey("", "r"), {"", R"({"role":"user","content":"a"},{"role":"assistant","content":"b"})"});
  auto request = Parse(R"("input": "c", "instructions": "s", "previous_response_id": "r")");
  ASSERT_TRUE(request.ok());
  request = WithHistory(*std::move(request), store, *checks_);
  const std::string history =
      R"({"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"})";
  EXPECT_EQ(Messages(request), R"([{"role":"system","content":"s"},)" + history + "]");
  EXPECT_EQ(request->messages, history);

  const absl::Status gone =
      WithHistory(*Parse(R"("input": "c", "previous_response_id": "x")"), store, *checks_).status();
  EXPECT_EQ(FieldOf(gone), "previous_response_id");
  EXPECT_EQ(ReasonOf(gone), "PREVIOUS_RESPONSE_NOT_FOUND");
}

TEST_F(ResponseRequestTest, RepeatsSettingsWithTheirDefaults) {
  const auto request = Parse(R"("input": "c", "temperature": 0.5, "metadata": {"a": "b"}, "store": false)");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->settings["temperature"], 0.5);
  EXPECT_EQ(request->settings["top_p"], 1.0);
  EXPECT_EQ(request->settings["metadata"].dump(), R"({"a":"b"})");
  EXPECT_EQ(request->settings["tool_choice"], "auto");
  EXPECT_EQ(request->messages, "");
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
