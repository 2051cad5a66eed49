#include "engine/sampling/sample_row_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "engine/sampling/counter_rng.h"
#include "engine/sampling/logits_processor.h"

namespace quire {
namespace {

constexpr int kVocabSize = 300;
const std::vector<TokenId> kEos = {2, 250};

// As kernels/sampling.h has it.
std::vector<float> Adjusted(std::vector<float> logits, const SampleRow& row) {
  for (const TokenAdjustment& adjustment : row.adjustments) {
    float& x = logits[adjustment.token];
    x += adjustment.bias;
    if (adjustment.forbidden) x = -std::numeric_limits<float>::infinity();
    if (!adjustment.seen) continue;
    x = x > 0 ? x / row.repetition_penalty : x * row.repetition_penalty;
    x -= row.frequency_penalty * static_cast<float>(adjustment.output_count);
    if (adjustment.output_count > 0) x -= row.presence_penalty;
  }
  return logits;
}

class SampleRowBuilderTest : public testing::Test {
 protected:
  TokenId RandomToken() { return std::uniform_int_distribution<TokenId>(0, kVocabSize - 1)(random_); }
  float Between(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }

  std::mt19937 random_{31};
  SampleRowBuilder builder_{kVocabSize, kEos};
};

TEST_F(SampleRowBuilderTest, AdjustmentsMakeWhatTheLogitsProcessorMakesToTheBit) {
  LogitsProcessor processor(kVocabSize, kEos);
  for (int trial = 0; trial < 2000; ++trial) {
    SCOPED_TRACE(testing::Message() << "trial " << trial << " from seed 31");
    std::vector<float> logits(kVocabSize);
    for (float& logit : logits) logit = Between(-20, 20);
    SamplingParams params;
    if (Chance(0.5)) params.repetition_penalty = Between(0.3f, 3.0f);
    if (Chance(0.5)) params.presence_penalty = Between(-2, 2);
    if (Chance(0.5)) params.frequency_penalty = Between(-2, 2);
    if (Chance(0.5)) params.logit_bias = {{3, Between(-100, 100)}, {4, Between(-2, 2)}, {250, 100.0f}};
    params.stop_token_ids = {RandomToken(), 4, 2};
    std::vector<TokenId> tokens(std::uniform_int_distribution<int>(0, 200)(random_));
    for (TokenId& token : tokens) token = Chance(0.3) ? 3 : RandomToken();
    const LogitRow row{.params = &params,
                       .tokens = tokens,
                       .num_prompt_tokens = static_cast<int>(tokens.size() / 3),
                       .forbid_stop = Chance(0.3)};
    const std::span<const float> expected = processor.Apply(logits, row);
    const std::vector<float> adjusted = Adjusted(logits, builder_.Build(row, 0));
    ASSERT_TRUE(std::ranges::equal(adjusted, expected));
  }
}

TEST_F(SampleRowBuilderTest, NamesATokenOnce) {
  const SamplingParams params{.presence_penalty = 1.0f, .stop_token_ids = {2, 7, 7}, .logit_bias = {{7, 1.5f}}};
  const std::vector<TokenId> tokens = {9, 7, 7, 7, 2};
  const SampleRow row =
      builder_.Build({.params = &params, .tokens = tokens, .num_prompt_tokens = 2, .forbid_stop = true}, 0);
  ASSERT_EQ(row.adjustments.size(), 3u);
  EXPECT_EQ(row.adjustments[0].token, 7);
  EXPECT_EQ(row.adjustments[0].bias, 1.5f);
  EXPECT_EQ(row.adjustments[0].output_count, 2);
  EXPECT_TRUE(row.adjustments[0].seen);
  EXPECT_TRUE(row.adjustments[0].forbidden);
  EXPECT_EQ(row.adjustments[1].token, 2);
  EXPECT_EQ(row.adjustments[1].output_count, 1);
  EXPECT_EQ(row.adjustments[2].token, 250);
  EXPECT_FALSE(row.adjustments[2].seen);
}

TEST_F(SampleRowBuilderTest, PassesOnWhatTheRequestAsksFor) {
  const SamplingParams params{.temperature = 0.7f,
                              .top_p = 0.9f,
                              .top_k = 40,
                              .min_p = 0.05f,
                              .repetition_penalty = 1.1f,
                              .presence_penalty = 0.2f,
                              .frequency_penalty = 0.3f};
  const SampleRow row = builder_.Build({.params = &params, .seed = 17, .position = 5}, 3);
  EXPECT_EQ(row.logits_row, 3);
  EXPECT_EQ(row.temperature, 0.7f);
  EXPECT_EQ(row.top_p, 0.9f);
  EXPECT_EQ(row.top_k, 40);
  EXPECT_EQ(row.min_p, 0.05f);
  EXPECT_EQ(row.repetition_penalty, 1.1f);
  EXPECT_EQ(row.presence_penalty, 0.2f);
  EXPECT_EQ(row.frequency_penalty, 0.3f);
  EXPECT_EQ(row.uniform, UniformAt(17, 5));
  EXPECT_TRUE(row.adjustments.empty());
  EXPECT_TRUE(row.allowed.empty());
}

}  // namespace
}  // namespace quire
