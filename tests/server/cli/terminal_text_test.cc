#include "server/cli/terminal_text.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(TerminalText, WordsOfAnyScriptAndLinesStay) {
  EXPECT_EQ(ForTerminal("one\n\ttwo \u00e9\u00a0\u4e2d \U0001f600"), "one\n\ttwo \u00e9\u00a0\u4e2d \U0001f600");
}

TEST(TerminalText, WhatMovesTheCursorOrRenamesTheWindowDoesNot) {
  EXPECT_EQ(ForTerminal("a\x1b[2Jb\rc\x07"
                        "d\x7f"),
            "a[2Jbcd");
  EXPECT_EQ(ForTerminal("a\xc2\x9b"
                        "2J"),
            "a2J")
      << "the 8-bit form of ESC [";
}

}  // namespace
}  // namespace quire
