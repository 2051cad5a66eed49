#include "server/bench/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/server/bench/tiny_backend.h"

namespace quire {
namespace {

TEST(Perplexity, ScoresEveryTokenOfAWindowButTheFirst) {
  const auto backend = MakeTinyBackend();
  const std::string text(50, 'x');  // A token a byte.
  const auto results = MeasurePerplexity(*backend, text, {20, 50}, {});
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 2u);
  EXPECT_EQ((*results)[0].num_windows, 2);
  EXPECT_EQ((*results)[0].num_tokens, 2 * 19);
  EXPECT_EQ((*results)[1].num_windows, 1);
  EXPECT_EQ((*results)[1].num_tokens, 49);
  for (const Perplexity& result : *results) {
    EXPECT_GT(result.mean_nll, 0);
    EXPECT_NEAR(result.perplexity, std::exp(result.mean_nll), 1e-9);
  }
}

TEST(Perplexity, DoesNotDependOnWhatWasMeasuredBefore) {
  const auto backend = MakeTinyBackend();
  const std::string text = "An owl flew over the quiet wood and back.";
  const auto once = MeasurePerplexity(*backend, text, {16}, {});
  const auto again = MeasurePerplexity(*backend, text, {30, 16}, {});
  ASSERT_TRUE(once.ok() && again.ok());
  EXPECT_EQ((*once)[0].mean_nll, (*again)[1].mean_nll);
}

TEST(Perplexity, SaysWhatDoesNotFit) {
  const auto backend = MakeTinyBackend();
  const auto error = [&](const std::string& text, int window) {
    return std::string(MeasurePerplexity(*backend, text, {window}, {}).status().message());
  };
  EXPECT_NE(error("short", 20).find("--input-len 20"), std::string::npos);
  EXPECT_NE(error("short", 1).find("at least 2"), std::string::npos);
  EXPECT_NE(error(std::string(100000, 'x'), 90000).find("must be below"), std::string::npos);
  EXPECT_FALSE(error("\xff\xff\xff\xff", 2).empty());
}

}  // namespace
}  // namespace quire
