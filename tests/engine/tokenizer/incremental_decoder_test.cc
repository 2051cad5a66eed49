#include "engine/tokenizer/incremental_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

// Tokens 0 to 255 are bytes; 256 is a control token.
const Tokenizer& Bytes() {
  static const auto* tokenizer = MakeTokenizer(TinyTokenizerSpec({}, {{"<c>", TokenKind::kControl}}))->release();
  return *tokenizer;
}

std::string Push(IncrementalDecoder& decoder, std::string_view bytes, bool allow_stop = true) {
  std::string text;
  for (const char byte : bytes) text += decoder.Push(static_cast<uint8_t>(byte), allow_stop);
  return text;
}

TEST(IncrementalDecoder, GivesTextOutAtOnceWhereNothingHoldsItBack) {
  IncrementalDecoder decoder(&Bytes(), {});
  EXPECT_EQ(decoder.Push('a'), "a");
  EXPECT_EQ(decoder.Push(256), "");
  EXPECT_EQ(decoder.Push('b'), "b");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_FALSE(decoder.stopped());
}

TEST(IncrementalDecoder, WaitsForWholeCharacters) {
  IncrementalDecoder decoder(&Bytes(), {});
  EXPECT_EQ(Push(decoder, "\xF0\x9F\x98"), "");
  EXPECT_EQ(Push(decoder, "\x80"), "😀");
  EXPECT_EQ(Push(decoder, "\xE4\xB8"), "");
  EXPECT_EQ(decoder.Finish(), "\uFFFD");
}

TEST(IncrementalDecoder, ReplacesWhatCanBeNoCharacterAsSoonAsThatIsSure) {
  IncrementalDecoder decoder(&Bytes(), {});
  EXPECT_EQ(Push(decoder, "\x80"), "\uFFFD");
  EXPECT_EQ(Push(decoder, "\xE4\xB8"), "");
  EXPECT_EQ(Push(decoder, "x"), "\uFFFDx");
  EXPECT_EQ(Push(decoder, "\xED"), "");
  EXPECT_EQ(Push(decoder, "\xA0"), "\uFFFD\uFFFD");  // A surrogate: neither byte belongs to a character.
  EXPECT_EQ(Push(decoder, "\xF4\x90"), "\uFFFD\uFFFD");
}

TEST(IncrementalDecoder, HoldsBackWhatCouldBeginAStopString) {
  IncrementalDecoder decoder(&Bytes(), {"\nUser:"});
  EXPECT_EQ(Push(decoder, "Hi\n"), "Hi");
  EXPECT_EQ(Push(decoder, "Us"), "");
  EXPECT_EQ(Push(decoder, "ual\n"), "\nUsual");
  EXPECT_EQ(Push(decoder, "\nUser"), "\n");
  EXPECT_FALSE(decoder.stopped());
  EXPECT_EQ(Push(decoder, ":"), "");
  EXPECT_TRUE(decoder.stopped());
  EXPECT_EQ(Push(decoder, "more"), "");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(IncrementalDecoder, GivesBackWhatItHeldWhenTheSampleEnds) {
  IncrementalDecoder decoder(&Bytes(), {"stop"});
  EXPECT_EQ(Push(decoder, "a sto"), "a ");
  EXPECT_EQ(decoder.Finish(), "sto");
  EXPECT_FALSE(decoder.stopped());
}

TEST(IncrementalDecoder, LetsTheEarliestStopStringWin) {
  IncrementalDecoder decoder(&Bytes(), {"b", "abc"});
  EXPECT_EQ(Push(decoder, "xab"), "x");  // "abc" may have begun before "b".
  EXPECT_FALSE(decoder.stopped());
  EXPECT_EQ(Push(decoder, "c"), "");
  EXPECT_TRUE(decoder.stopped());
  EXPECT_EQ(decoder.stop_string(), "abc");

  IncrementalDecoder other(&Bytes(), {"b", "abc"});
  EXPECT_EQ(Push(other, "xabd"), "xa");
  EXPECT_TRUE(other.stopped());
  EXPECT_EQ(other.stop_string(), "b");

  IncrementalDecoder ended(&Bytes(), {"b", "abc"});
  EXPECT_EQ(Push(ended, "xab"), "x");
  EXPECT_EQ(ended.Finish(), "a");
  EXPECT_TRUE(ended.stopped());
}

TEST(IncrementalDecoder, FindsAStopStringThatBeginsInsideAFalseStart) {
  IncrementalDecoder decoder(&Bytes(), {"aab"});
  EXPECT_EQ(Push(decoder, "aaaaab"), "aaa");
  EXPECT_TRUE(decoder.stopped());
}

TEST(IncrementalDecoder, LeavesStopStringsThatEndBelowTheMinimumUnheeded) {
  IncrementalDecoder decoder(&Bytes(), {"ab"});
  EXPECT_EQ(Push(decoder, "abab", /*allow_stop=*/false), "abab");
  EXPECT_EQ(Push(decoder, "b"), "b");
  EXPECT_EQ(Push(decoder, "a", /*allow_stop=*/false), "");
  EXPECT_EQ(Push(decoder, "b"), "");  // It ends above the minimum.
  EXPECT_TRUE(decoder.stopped());

  IncrementalDecoder overlapping(&Bytes(), {"aba"});
  EXPECT_EQ(Push(overlapping, "aba", /*allow_stop=*/false), "ab");  // The last "a" may begin the next one.
  EXPECT_EQ(Push(overlapping, "ba"), "");
  EXPECT_TRUE(overlapping.stopped());
}

// Whatever the tokens: the text before the first stop string in the whole text, nothing given out that is taken back.
TEST(IncrementalDecoder, GivesTheWholeTextUpToTheFirstStopStringHoweverItIsCut) {
  const std::vector<std::string> alphabet = {"a", "b", "é", "\xC3", "\xA9", "😀", "\xF0\x9F"};
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bytes;
    for (size_t n = random() % 40; n > 0; --n) bytes += alphabet[random() % alphabet.size()];
    std::vector<std::string> stop(random() % 4);
    for (std::string& text : stop) {
      for (size_t n = 1 + random() % 5; n > 0; --n) text += alphabet[random() % 3];
    }
    std::vector<TokenId> ids;
    for (const char byte : bytes) ids.push_back(static_cast<uint8_t>(byte));
    std::string expected = *Decode(Bytes(), ids, false);
    size_t cut = std::string::npos;
    for (const std::string& text : stop) cut = std::min(cut, expected.find(text));
    if (cut != std::string::npos) expected.resize(cut);

    IncrementalDecoder decoder(&Bytes(), stop);
    std::string text;
    for (const TokenId id : ids) {
      text += decoder.Push(id);
      ASSERT_TRUE(expected.starts_with(text)) << text << " against " << expected;
    }
    text += decoder.Finish();
    EXPECT_EQ(text, expected);
    EXPECT_EQ(decoder.stopped(), cut != std::string::npos);
  }
}

TEST(IncrementalDecoder, TakesLongTextAndLongStopStringsInLinearTime) {
  const std::string stop = std::string(100'000, 'a') + "b";
  IncrementalDecoder decoder(&Bytes(), {stop, std::string(50'000, 'a') + "c"});
  size_t num_bytes = 0;
  for (int i = 0; i < 1'000'000; ++i) num_bytes += decoder.Push('a').size();
  EXPECT_EQ(num_bytes, 900'000u);
  num_bytes += decoder.Push('b').size();
  EXPECT_EQ(num_bytes, 900'000u);
  EXPECT_TRUE(decoder.stopped());
}

}  // namespace
}  // namespace quire
