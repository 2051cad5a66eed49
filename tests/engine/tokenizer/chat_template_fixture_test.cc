// Conversations with tools, in templates of the kinds that models bring, against what transformers makes of them
// (tests/reference/make_chat_template_fixture.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "engine/tokenizer/chat_template.h"

namespace quire {
namespace {

const Json& Fixture() {
  static const Json fixture = [] {
    std::ifstream file(QUIRE_CHAT_TEMPLATE_FIXTURE);
    return ParseJson(std::string(std::istreambuf_iterator<char>(file), {})).value();
  }();
  return fixture;
}

Conversation ConversationOf(const Json& json) {
  return {.messages = json.at("messages"),
          .tools = json.value("tools", Json()),
          .documents = json.value("documents", Json()),
          .variables = json.value("variables", Json::object()),
          .add_generation_prompt = json.value("add_generation_prompt", true)};
}

TEST(ChatTemplateFixture, ShowsToolsAndCallsAsTheReferenceDoes) {
  ASSERT_GE(Fixture()["prompts"].size(), 80u);
  for (const Json& example : Fixture()["prompts"]) {
    SCOPED_TRACE(example.dump());
    const std::string source = Fixture()["templates"][example["template"].get<std::string>()];
    const auto chat_template = ChatTemplate::Make(source, "<s>", "</s>");
    ASSERT_TRUE(chat_template.ok()) << chat_template.status();
    const Json& conversation = Fixture()["conversations"][example["conversation"].get<size_t>()];
    const auto prompt = (*chat_template)->Render(ConversationOf(conversation));
    ASSERT_EQ(prompt.ok(), !example["prompt"].is_null()) << prompt.status();
    if (prompt.ok()) {
      EXPECT_EQ(*prompt, example["prompt"].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace quire
