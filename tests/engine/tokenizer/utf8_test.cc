#include "engine/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

std::string Replaced(std::string_view bytes) {
  std::string out;
  EXPECT_EQ(AppendValidUtf8(bytes, /*at_end=*/true, out), bytes.size());
  return out;
}

TEST(Utf8, FindsTheFirstByteThatIsNotACharacter) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("ascii é 世 😀 \uFFFF \U0010FFFF"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("0123456789abcdef\xFF"), 16u);
  EXPECT_EQ(FindInvalidUtf8("é\xC3"), 2u);
  EXPECT_EQ(FindInvalidUtf8("\xC1\xBF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xE0\x9F\xBF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xF0\x8F\xBF\xBF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xF4\x90\x80\x80"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xF5\x80\x80\x80"), 0u);
}

// As bytes.decode(errors="replace") of Python has it.
TEST(Utf8, ReplacesEachMaximalPartOfABrokenCharacterOnce) {
  EXPECT_EQ(Replaced("a\x80z"), "a\uFFFDz");
  EXPECT_EQ(Replaced("\xF0\x9F\x98z"), "\uFFFDz");
  EXPECT_EQ(Replaced("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(Replaced("\xC0\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xE0\x80\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Replaced("\xE4\xB8\xE4\xB8\xAD"), "\uFFFD中");
}

TEST(Utf8, LeavesAnIncompleteCharacterUntilTheEnd) {
  std::string out;
  EXPECT_EQ(AppendValidUtf8("a\xE4\xB8", /*at_end=*/false, out), 1u);
  EXPECT_EQ(out, "a");
}

}  // namespace
}  // namespace quire
