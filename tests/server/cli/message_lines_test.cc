#include "server/cli/message_lines.h"

#include <gtest/gtest.h>

#include <vector>

namespace quire {
namespace {

// The message that `lines` make up; the last one must complete it, and none before.
MessageLines Read(const std::vector<std::string>& lines) {
  MessageLines message;
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(message.Add(lines[i]), i + 1 == lines.size()) << lines[i];
  return message;
}

TEST(MessageLines, OneLineIsAMessage) {
  EXPECT_EQ(Read({"hello"}).text(), "hello");
  EXPECT_EQ(Read({""}).text(), "");
  EXPECT_EQ(Read({"say \"\"\""}).text(), "say \"\"\"");
}

TEST(MessageLines, ABackslashAtTheEndGoesOn) {
  const MessageLines message = Read({"one\\", "two\\", "three"});
  EXPECT_EQ(message.text(), "one\ntwo\nthree");
  EXPECT_EQ(message.typed(), "one\\\ntwo\\\nthree");
  EXPECT_EQ(Read({"\\", ""}).text(), "\n");
}

TEST(MessageLines, QuotesHoldLinesTogether) {
  EXPECT_EQ(Read({"\"\"\"", "one\\", "", "two", "\"\"\""}).text(), "one\\\n\ntwo\n");
  EXPECT_EQ(Read({"\"\"\"one", "two\"\"\""}).text(), "one\ntwo");
  EXPECT_EQ(Read({"\"\"\"one\"\"\""}).text(), "one");
  EXPECT_EQ(Read({"\"\"\"\"\"\""}).text(), "");
}

}  // namespace
}  // namespace quire
