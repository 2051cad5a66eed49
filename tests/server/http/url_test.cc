#include "server/http/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(SplitTarget, UnescapesThePathAndLeavesTheQuery) {
  EXPECT_THAT(SplitTarget("/a%20b%2?c=%20d?e"), Pair("/a b%2", "c=%20d?e"));
  EXPECT_THAT(SplitTarget("/a"), Pair("/a", ""));
}

TEST(SplitTarget, PassesOverSchemeAndHost) {
  EXPECT_THAT(SplitTarget("http://host:80/a/b?c"), Pair("/a/b", "c"));
  EXPECT_THAT(SplitTarget("HTTPS://host"), Pair("/", ""));
  EXPECT_THAT(SplitTarget("http://host?c"), Pair("/", "c"));
  EXPECT_THAT(SplitTarget("/http://host/a"), Pair("/http://host/a", ""));
}

TEST(SplitQuery, UnescapesNamesAndValues) {
  EXPECT_THAT(SplitQuery("a=1&b%5B%5D=x+y%2B&&c&=d&e=f=g"),
              ElementsAre(Pair("a", "1"), Pair("b[]", "x y+"), Pair("c", ""), Pair("", "d"), Pair("e", "f=g")));
  EXPECT_THAT(SplitQuery(""), IsEmpty());
}

}  // namespace
}  // namespace quire
