#include "server/http/openai/answer_parts.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(AnswerParts, UsageIsOpenAisWhereNothingCameFromATier) {
  EXPECT_EQ(UsageJson({.prompt_tokens = 9, .cached_tokens = 4, .completion_tokens = 2}).dump(),
            R"({"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}})");
}

TEST(AnswerParts, UsageTellsOfWhichTierCachedTokensWere) {
  const Json usage =
      UsageJson({.prompt_tokens = 9, .cached_tokens = 8, .cached_tokens_host = 4, .cached_tokens_disk = 3});
  EXPECT_EQ(usage["prompt_tokens_details"].dump(),
            R"({"cached_tokens":8,"cached_tokens_host":4,"cached_tokens_disk":3})");
}

}  // namespace
}  // namespace quire
