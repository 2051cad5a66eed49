#include "server/http/openai/chat_request.h"

#include <gmock/gmock.h>

#include <string>

#include "engine/types/json.h"
#include "tests/server/http/http_request_fixture.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

class ChatRequestTest : public HttpRequestFixture {
 protected:
  // `fields` are those beside messages.
  absl::StatusOr<ChatRequest> Parse(const std::string& messages, const std::string& fields = "") {
    return ParseChatRequest(ParseJson("{\"messages\": " + messages + fields + "}").value(), *checks_);
  }
  Json Messages(const std::string& messages) {
    const auto request = Parse(messages);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? std::get<Conversation>(request->generation.prompt).messages : Json();
  }
  std::string Complaint(const std::string& messages, const std::string& fields = "") {
    return std::string(Parse(messages, fields).status().message());
  }
};

const char kHello[] = R"([{"role": "user", "content": "hello"}])";
const char kTool[] = R"(, "tools": [{"type": "function", "function": {"name": "f"}}])";

TEST_F(ChatRequestTest, KeepsWhatTemplatesKnowOfAMessage) {
  EXPECT_EQ(Messages(R"([{"role": "assistant", "content": null, "name": "n", "refusal": null, "tool_calls":
                        [{"id": "i", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}]},
                       {"role": "tool", "tool_call_id": "i", "content": [{"type": "text", "text": "a"}, "b"]},
                       {"role": "developer", "reasoning_content": "r", "tool_calls": []}])")
                .dump(),
            R"([{"role":"assistant","content":"","name":"n","tool_calls":)"
            R"([{"id":"i","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
            R"({"role":"tool","content":"a\nb","tool_call_id":"i"},)"
            R"({"role":"system","content":"","reasoning_content":"r"}])");
}

TEST_F(ChatRequestTest, NamesThePartOfAMessageAtFault) {
  const auto complaint = [&](const std::string& message) { return Complaint("[" + message + "]"); };
  EXPECT_THAT(complaint(R"({"role": "user", "tool_calls": {}})"), HasSubstr("messages[0].tool_calls must be a list"));
  EXPECT_THAT(complaint(R"({"role": "user", "tool_calls": [1]})"), HasSubstr("messages[0].tool_calls[0] must be"));
  EXPECT_THAT(complaint(R"({"role": "user", "tool_calls": [{}]})"), HasSubstr("tool_calls[0].function must be set"));
  EXPECT_THAT(complaint(R"({"role": "user", "tool_calls": [{"type": "custom"}]})"),
              HasSubstr("tool_calls[0].type must"));
  EXPECT_THAT(complaint(R"({"role": "user", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]})"),
              HasSubstr("messages[0].tool_calls[0].function.arguments must be"));
  EXPECT_THAT(complaint(R"({"role": "user", "name": 1})"), HasSubstr("messages[0].name must be"));
  EXPECT_THAT(complaint(R"({"content": "x"})"), HasSubstr("messages[0].role must be set"));
}

TEST_F(ChatRequestTest, GivesTheTemplateItsVariables) {
  const auto request =
      Parse(kHello, R"(, "documents": [{"text": "d"}], "chat_template_kwargs": {"enable_thinking": false},
                       "add_generation_prompt": false, "continue_final_message": true)");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& conversation = std::get<Conversation>(request->generation.prompt);
  EXPECT_EQ(conversation.documents[0]["text"], "d");
  EXPECT_EQ(conversation.variables["enable_thinking"], false);
  EXPECT_FALSE(conversation.add_generation_prompt);
  EXPECT_TRUE(conversation.continue_final_message);
  EXPECT_THAT(Complaint(kHello, R"(, "continue_final_message": true)"), HasSubstr("continue_final_message must not"));
  EXPECT_THAT(Complaint(kHello, R"(, "documents": [1])"), HasSubstr("documents[0] must be"));
  EXPECT_THAT(Complaint(kHello, R"(, "chat_template_kwargs": {"tools": []})"),
              HasSubstr("chat_template_kwargs.tools must not be set"));
}

TEST_F(ChatRequestTest, PlansToolCalls) {
  const auto free = Parse(kHello, std::string(kTool) + R"(, "tool_choice": "auto")");
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_EQ(std::get<Conversation>(free->generation.prompt).tools.size(), 1u);
  EXPECT_EQ(free->generation.output_format.kind, OutputFormat::Kind::kFree);
  const auto enforced =
      Parse(kHello, std::string(kTool) + R"(, "tool_choice": "required", "parallel_tool_calls": false)");
  ASSERT_TRUE(enforced.ok()) << enforced.status();
  EXPECT_EQ(enforced->generation.output_format.kind, OutputFormat::Kind::kFrames);
  EXPECT_FALSE(enforced->generation.parallel_calls);
  EXPECT_THAT(Complaint(kHello, std::string(kTool) +
                                    R"(, "tool_choice": "required", "response_format": {"type": "json_object"})"),
              HasSubstr("tool_choice must not enforce"));
  EXPECT_THAT(Complaint(kHello, R"(, "tools": 1)"), HasSubstr("tools must be a list"));
}

}  // namespace
}  // namespace quire
