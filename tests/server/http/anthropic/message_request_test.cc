#include "server/http/anthropic/message_request.h"

#include <gmock/gmock.h>

#include <string>

#include "server/status_details.h"
#include "tests/server/http/http_request_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

class MessageRequestTest : public HttpRequestFixture {
 protected:
  // `fields` are those beside max_tokens.
  absl::StatusOr<MessageRequest> Parse(const std::string& fields) {
    return ParseMessageRequest(ParseJson("{\"max_tokens\": 5, " + fields + "}").value(), *checks_);
  }
  Conversation Read(const std::string& fields) {
    const auto request = Parse(fields);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? std::get<Conversation>(request->generation.prompt) : Conversation();
  }
  void ExpectComplaint(const std::string& fields, const std::string& field) {
    ExpectComplaintAbout(field, Parse(fields).status());
  }
};

const char kHello[] = R"("messages": [{"role": "user", "content": "hello"}])";

TEST_F(MessageRequestTest, PutsBlocksIntoTheMessagesThatTemplatesKnow) {
  EXPECT_EQ(Read(R"("system": [{"type": "text", "text": "s"}, {"type": "text", "text": "t"}], "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "h", "signature": "x"},
                       {"type": "text", "text": "c"}, {"type": "tool_use", "id": "i", "name": "f", "input": {"x": 1}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": "r"},
                                                 {"type": "text", "text": "d"}]}])")
                .messages.dump(),
            R"([{"role":"system","content":"s\nt"},{"role":"user","content":"a\nb"},)"
            R"({"role":"assistant","content":"c","reasoning_content":"h","tool_calls":)"
            R"([{"id":"i","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},)"
            R"({"role":"tool","content":"r","tool_call_id":"i"},{"role":"user","content":"d"}])");
}

TEST_F(MessageRequestTest, TakesAMessageWithoutBlocksForOneWithoutText) {
  EXPECT_EQ(Read(R"("messages": [{"role": "user", "content": []}])").messages.dump(),
            R"([{"role":"user","content":""}])");
}

TEST_F(MessageRequestTest, GoesOnWithALastMessageOfTheAssistants) {
  EXPECT_FALSE(Read(kHello).continue_final_message);
  const Conversation begun = Read(R"("messages": [{"role": "assistant", "content": "he"}])");
  EXPECT_TRUE(begun.continue_final_message);
  EXPECT_FALSE(begun.add_generation_prompt);
}

TEST_F(MessageRequestTest, ShowsToolsInTheFormThatTemplatesKnow) {
  const std::string tool = R"(, "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}])";
  EXPECT_EQ(Read(kHello + tool).tools.dump(),
            R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}])");
  EXPECT_TRUE(Read(kHello + tool + R"(, "tool_choice": {"type": "none"})").tools.is_null());
  const auto forced = Parse(kHello + tool + R"(, "tool_choice": {"type": "any", "disable_parallel_tool_use": true})");
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_EQ(forced->generation.output_format.kind, OutputFormat::Kind::kFrames);
  EXPECT_FALSE(forced->generation.parallel_calls);
}

TEST_F(MessageRequestTest, ReadsHowToSample) {
  const auto request =
      Parse(std::string(kHello) + R"(, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "stop_sequences": ["x", "y"])");
  ASSERT_TRUE(request.ok()) << request.status();
  const SamplingParams& sampling = request->generation.generate.sampling;
  EXPECT_EQ(sampling.max_tokens, 5);
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_THAT(sampling.stop, ElementsAre("x", "y"));
}

TEST_F(MessageRequestTest, NamesTheFieldAtFault) {
  const auto with = [](const std::string& fields) { return std::string(kHello) + ", " + fields; };
  const auto content = [](const std::string& role, const std::string& block) {
    return R"("messages": [{"role": ")" + role + R"(", "content": [)" + block + "]}]";
  };
  ExpectComplaint("\"a\": 1", "messages");
  ExpectComplaint(with(R"("n": 2)"), "n");
  ExpectComplaint(R"("messages": [3])", "messages[0]");
  ExpectComplaint(R"("messages": [{"role": "tool", "content": ""}])", "messages[0].role");
  ExpectComplaint(R"("messages": [{"role": "user"}])", "messages[0].content");
  ExpectComplaint(content("user", "1"), "messages[0].content[0]");
  ExpectComplaint(content("user", R"({"type": "text"})"), "messages[0].content[0].text");
  ExpectComplaint(content("user", R"({"type": "tool_use", "id": "i", "name": "f"})"), "messages[0].content[0].type");
  ExpectComplaint(content("user", R"({"type": "tool_result"})"), "messages[0].content[0].tool_use_id");
  ExpectComplaint(content("user", R"({"type": "tool_result", "tool_use_id": "i", "content": [{"type": "image"}]})"),
                  "messages[0].content[0].content[0].type");
  ExpectComplaint(content("assistant", R"({"type": "tool_use", "id": "i", "name": "f", "input": []})"),
                  "messages[0].content[0].input");
  ExpectComplaint(with(R"("system": 1)"), "system");
  ExpectComplaint(with(R"("stop_sequences": [""])"), "stop_sequences[0]");
  ExpectComplaint(with(R"("tools": [{"name": "f", "input_schema": 1}])"), "tools[0].input_schema");
  ExpectComplaint(with(R"("tool_choice": {"type": "most"})"), "tool_choice.type");
  ExpectComplaint(with(R"("tools": [{"name": "f"}], "tool_choice": {"type": "tool", "name": "g"})"),
                  "tool_choice.name");
  ExpectComplaint(with(R"("output_config": {"format": {"type": "json_schema"}})"), "output_config.format.schema");
  EXPECT_EQ(FieldOf(ParseMessageRequest(ParseJson("{" + std::string(kHello) + "}").value(), *checks_).status()),
            "max_tokens");
}

}  // namespace
}  // namespace quire
