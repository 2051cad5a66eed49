// The model's own vocabulary and template against what transformers makes of them
// (tests/reference/make_tokenizer_fixture.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/loader/checkpoint.h"
#include "engine/model/tokenizer_spec.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/incremental_decoder.h"
#include "engine/tokenizer/split_pattern.h"
#include "engine/tokenizer/tokenizer.h"

namespace quire {
namespace {

using nlohmann::json;

const json& Fixture() {
  static const json fixture = json::parse(std::ifstream(QUIRE_TOKENIZER_FIXTURE));
  return fixture;
}

const Tokenizer& ModelTokenizer() {
  static const auto* tokenizer = [] {
    const auto checkpoint = OpenCheckpoint(QUIRE_TEST_MODEL).value();
    return MakeTokenizer(ReadTokenizerSpec(*checkpoint).value()).value().release();
  }();
  return *tokenizer;
}

TEST(TokenizerFixture, EncodesAsTheReferenceDoes) {
  ASSERT_GE(Fixture()["encode"].size(), 150u);
  for (const json& example : Fixture()["encode"]) {
    SCOPED_TRACE(example["text"].dump());
    const auto ids = ModelTokenizer().Encode(example["text"].get<std::string>(),
                                             {.parse_special = example["parse_special"].get<bool>()});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, example["ids"].get<std::vector<TokenId>>());
  }
}

TEST(TokenizerFixture, DecodesAsTheReferenceDoes) {
  for (const json& example : Fixture()["encode"]) {
    SCOPED_TRACE(example["text"].dump());
    const auto ids = example["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(*Decode(ModelTokenizer(), ids, /*keep_special=*/false), example["decoded"].get<std::string>());
    EXPECT_EQ(*Decode(ModelTokenizer(), ids, /*keep_special=*/true), example["decoded_special"].get<std::string>());
    IncrementalDecoder decoder(&ModelTokenizer(), {});
    std::string text;
    for (const TokenId id : ids) text += decoder.Push(id);
    EXPECT_EQ(text + decoder.Finish(), example["decoded"].get<std::string>());
  }
}

TEST(TokenizerFixture, SplitsWordsAsEachFamilyDoes) {
  for (const json& example : Fixture()["split"]) {
    SCOPED_TRACE(example.dump());
    const auto pattern = SplitPattern::Make(example["pre"].get<std::string>());
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    const std::string text = example["text"].get<std::string>();
    std::vector<std::string> words;
    ASSERT_TRUE(pattern->Split(text, [&](std::string_view word) { words.emplace_back(word); }).ok());
    EXPECT_EQ(words, example["words"].get<std::vector<std::string>>());
  }
}

Conversation ConversationOf(const json& list) {
  Conversation conversation;
  for (const json& message : list) conversation.messages.push_back(TextMessage(message["role"], message["content"]));
  return conversation;
}

TEST(TokenizerFixture, RendersTheModelsOwnTemplateAsTheReferenceDoes) {
  const std::string source = OpenCheckpoint(QUIRE_TEST_MODEL).value()->GetString("tokenizer.chat_template").value();
  const auto chat_template = ChatTemplate::Make(source, "<|im_start|>", "<|im_end|>");
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  ASSERT_GE(Fixture()["chats"].size(), 12u);
  for (const json& chat : Fixture()["chats"]) {
    SCOPED_TRACE(chat.dump());
    const auto prompt = (*chat_template)->Render(ConversationOf(chat["messages"]));
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    EXPECT_EQ(*prompt, chat["prompt"].get<std::string>());
  }
}

TEST(TokenizerFixture, ReadsTheTemplateLanguageAsTheReferenceDoes) {
  const Conversation conversation = ConversationOf(Fixture()["template_messages"]);
  for (const json& example : Fixture()["templates"]) {
    SCOPED_TRACE(example.dump());
    const auto chat_template = ChatTemplate::Make(example["template"].get<std::string>(), "<s>", "</s>");
    const auto prompt = chat_template.ok() ? (*chat_template)->Render(conversation) : chat_template.status();
    ASSERT_EQ(prompt.ok(), !example["prompt"].is_null()) << prompt.status();
    if (prompt.ok()) {
      EXPECT_EQ(*prompt, example["prompt"].get<std::string>());
    } else {
      EXPECT_EQ(prompt.status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

}  // namespace
}  // namespace quire
