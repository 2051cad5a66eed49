#include "server/http/openai/text_logprobs.h"

#include <gtest/gtest.h>

#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

class TextLogprobsTest : public ::testing::Test {
 protected:
  void AddTokens(const std::vector<TokenId>& tokens) {
    std::vector<TokenLogprob> added(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) added[i].token = tokens[i];
    logprobs_.Add(added);
  }
  void Add(const std::string& letters) { AddTokens(*tokenizer_.Encode(letters, {})); }
  std::string Take(const std::string& text) {
    std::string taken;
    for (const TokenLogprob& logprob : logprobs_.Take(text)) taken += tokenizer_.TokenBytes(logprob.token, true);
    return taken;
  }

  LetterTokenizer tokenizer_;
  TextLogprobs logprobs_{tokenizer_};
};

TEST_F(TextLogprobsTest, GivesEachTokenWithTheTextItIsIn) {
  Add("abc");
  EXPECT_EQ(Take("ab"), "ab");
  EXPECT_EQ(Take(""), "");
  Add("de");
  EXPECT_EQ(Take("cd"), "cd");
  EXPECT_EQ(Take("e"), "e");
  EXPECT_EQ(Take("e"), "");
}

TEST_F(TextLogprobsTest, PassesOverWhatIsNotShown) {
  Add("ab call cd");
  EXPECT_EQ(Take("ab"), "ab");
  EXPECT_EQ(Take("cd"), "cd");
  AddTokens({LetterTokenizer::kEnd});
  Add("x");
  EXPECT_EQ(Take("x"), "x");
}

TEST_F(TextLogprobsTest, GivesATokenBetweenTwoTextsWithTheFirst) {
  AddTokens({LetterTokenizer::kAccent, 1});
  EXPECT_EQ(Take("\xC3"), "\xC3\xA9");
  EXPECT_EQ(Take("\xA9"), "");
  EXPECT_EQ(Take("b"), "b");
}

TEST_F(TextLogprobsTest, GivesAllTokensOfOneCharacter) {
  AddTokens({LetterTokenizer::kAccentFirst});
  AddTokens({LetterTokenizer::kAccentSecond, 0});
  EXPECT_EQ(Take("\xC3\xA9"), "\xC3\xA9");
  EXPECT_EQ(Take("a"), "a");
}

TEST_F(TextLogprobsTest, GoesOnBehindBytesThatAreShownAsOthers) {
  AddTokens({LetterTokenizer::kAccentSecond, 0, 1, 2, 3});
  EXPECT_EQ(Take("\xEF\xBF\xBD"),
            "\xA9"
            "ab");
  EXPECT_EQ(Take("d"), "d");
}

}  // namespace
}  // namespace quire
