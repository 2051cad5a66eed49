#include "server/grammar/regex_check.h"

#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

std::string Repeated(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

TEST(RegexCheck, TakesWhatPeopleWrite) {
  for (const char* regex :
       {"", "a*?b+?c??", "(a{2}){3}?", "[*+?(){}]{2,}", "\\{\\(x*\\)\\}", "{", "a{", "^\\d{1,3}(\\.\\d{1,3}){3}$"}) {
    EXPECT_EQ(CheckRegex(regex), absl::OkStatus()) << regex;
  }
  EXPECT_EQ(CheckRegex(Repeated("(a|b)*", 200)), absl::OkStatus());
}

TEST(RegexCheck, RefusesWhatIsBuiltToBeDeep) {
  EXPECT_FALSE(CheckRegex(Repeated("(", 300) + "a" + Repeated(")", 300)).ok());
  for (const char* quantifier : {"*", "+?", "{1}", "{1,2}?"})
    EXPECT_FALSE(CheckRegex("a" + Repeated(quantifier, 1000)).ok());
}

TEST(RegexCheck, TakesTimeInProportionToTheText) { EXPECT_EQ(CheckRegex(Repeated("a{", 1'000'000)), absl::OkStatus()); }

}  // namespace
}  // namespace quire
