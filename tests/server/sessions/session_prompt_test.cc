#include "server/sessions/session_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/status_details.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

// Trims answers, and so renders other text for them than the model wrote.
constexpr char kTemplate[] =
    "{% for m in messages %}{{ m.role[0] }}{{ m.content | trim }}z{% endfor %}{% if add_generation_prompt %}a{% endif %}";

class SessionPromptTest : public ::testing::Test {
 protected:
  SessionPromptTest() : template_(*ChatTemplate::Make(kTemplate, "", "")) {}

  absl::StatusOr<SessionPrompt> Make(const SessionHistoryPtr& history, const Prompt& prompt) {
    return MakeSessionPrompt(history, prompt, "messages", tokenizer_, template_.get());
  }
  std::vector<TokenId> Tokens(const std::string& text) { return *tokenizer_.Encode(text, {}); }
  static Conversation Says(const std::string& text) {
    Conversation conversation;
    conversation.messages.push_back(TextMessage("user", text));
    return conversation;
  }
  SessionHistoryPtr History(const std::string& text, std::vector<std::string> roles) {
    return std::make_shared<const SessionHistory>(nullptr, Tokens(text), std::move(roles));
  }

  LetterTokenizer tokenizer_;
  std::unique_ptr<ChatTemplate> template_;
};

TEST_F(SessionPromptTest, AChatBeginsAsOneWithoutASession) {
  const absl::StatusOr<SessionPrompt> prompt = Make(nullptr, Says("hello"));
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->tokens, Tokens("uhelloza"));
  EXPECT_THAT(prompt->roles, ElementsAre("user", "assistant"));
}

TEST_F(SessionPromptTest, NewMessagesFollowTheHistoryAsItIs) {
  const absl::StatusOr<SessionPrompt> prompt = Make(History("uhelloza dear ", {"user", "assistant"}), Says("more"));
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->tokens, Tokens("uhelloza dear zumoreza"));
}

TEST_F(SessionPromptTest, TextAndTokensAreAppended) {
  EXPECT_EQ(Make(History("abc", {}), Prompt(std::string("def")))->tokens, Tokens("abcdef"));
  EXPECT_EQ(Make(History("abc", {}), Prompt(Tokens("xy")))->tokens, Tokens("abcxy"));
  EXPECT_EQ(Make(History("abc", {}), Says("hi"))->tokens, Tokens("abcuhiza"));
}

TEST_F(SessionPromptTest, AContinuedAnswerIsNoFurtherMessage) {
  Conversation conversation = Says("hi");
  conversation.messages.push_back(TextMessage("assistant", "well"));
  conversation.add_generation_prompt = false;
  conversation.continue_final_message = true;
  EXPECT_THAT(Make(nullptr, conversation)->roles, ElementsAre("user", "assistant"));
}

TEST_F(SessionPromptTest, NothingNewIsRefused) {
  EXPECT_EQ(FieldOf(Make(History("abc", {}), Prompt(std::string())).status()), "messages");
  Conversation conversation;
  conversation.messages.push_back(TextMessage(std::string(100, 'x'), "hi"));
  EXPECT_EQ(FieldOf(Make(nullptr, conversation).status()), "messages[0].role");
}

TEST_F(SessionPromptTest, ATemplateThatDropsAnswersCannotGoOn) {
  template_ = *ChatTemplate::Make("{{ messages[-1].content }}", "", "");
  EXPECT_TRUE(absl::IsFailedPrecondition(Make(History("abc", {"user", "assistant"}), Says("hi")).status()));
}

}  // namespace
}  // namespace quire
