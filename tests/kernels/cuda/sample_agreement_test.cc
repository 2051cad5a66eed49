// The device's choices against those of the CPU and of the definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "engine/sampling/counter_rng.h"
#include "engine/sampling/token_filter.h"
#include "kernels/cuda/sample.h"
#include "tests/engine/sampling/naive_sampler.h"
#include "tests/kernels/cuda/sample_fixture.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr float kHuge = std::numeric_limits<float>::max();

// The tokens that the CPU keeps in the draw, and their weights.
std::vector<Candidate> KeptOnHost(std::span<const float> logits, const SamplingParams& params) {
  std::vector<float> block_maxima;
  const float maximum = FindMaximum(logits, block_maxima).value;
  const SoftmaxScale scale = {maximum, std::min(1.0f / params.temperature, kHuge)};
  if (TokenFilter::IsActive(params, logits.size())) {
    TokenFilter filter;
    const std::span<const Candidate> kept = filter.Apply(logits, block_maxima, scale, params);
    return {kept.begin(), kept.end()};
  }
  std::vector<Candidate> all;
  for (size_t i = 0; i < logits.size(); ++i)
    all.push_back({logits[i], static_cast<TokenId>(i), Weight(logits[i], scale)});
  return all;
}

// Draws close to both ends of what the likelier kept tokens cover of (0, 1), where a token more or less before them
// would show, and at the very ends.
void ExpectKeeps(std::span<const float> logits, const SamplingParams& params, const std::vector<Candidate>& kept) {
  const size_t kMaxRows = logits.size() > 10000 ? 30 : 60;
  constexpr double kRounding = 2e-6;
  double total = 0;
  for (const Candidate& candidate : kept) total += candidate.weight;
  std::vector<SampleRow> rows;
  std::vector<int32_t> expected;
  const SampleRow wish{
      .temperature = params.temperature, .top_p = params.top_p, .min_p = params.min_p, .top_k = params.top_k};
  const auto draw = [&](double uniform, int32_t token) {
    rows.push_back(wish);
    rows.back().uniform = uniform;
    expected.push_back(token);
  };
  std::vector<Candidate> by_weight = kept;
  std::ranges::stable_sort(by_weight, [](const Candidate& a, const Candidate& b) { return a.weight > b.weight; });
  const float least = by_weight[std::min(by_weight.size(), kMaxRows / 2) - 1].weight;
  double before = 0;
  for (const Candidate& candidate : kept) {
    const double begin = before / total, end = (before += candidate.weight) / total;
    if (candidate.weight < least || end - begin < 4 * kRounding || rows.size() >= kMaxRows) continue;
    draw(begin + kRounding, candidate.token);
    draw(end - kRounding, candidate.token);
  }
  ASSERT_FALSE(rows.empty());
  const std::vector<SampledRow> sampled = SampleOnDevice(logits, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_TRUE(sampled[i].ok);
    ASSERT_EQ(sampled[i].token, expected[i]) << "at " << rows[i].uniform;
  }
  for (double end : {0x1p-53, 1 - 0x1p-53}) {
    SampleRow row = wish;
    row.uniform = end;
    const int32_t token = SampleOne(logits, row).token;
    EXPECT_TRUE(std::ranges::any_of(kept, [&](const Candidate& c) { return c.token == token && c.weight > 0; }));
  }
}

TEST(CudaSampleAgreement, KeepsWhatTheCpuKeeps) {
  int settings = 0;
  const auto check = [&](std::span<const float> logits, const SamplingParams& params) {
    SCOPED_TRACE(testing::Message() << "vocab " << logits.size() << " temperature " << params.temperature << " top_k "
                                    << params.top_k << " top_p " << params.top_p << " min_p " << params.min_p);
    ++settings;
    ExpectKeeps(logits, params, KeptOnHost(logits, params));
  };
  for (size_t vocab_size : {17, 1000}) {
    for (bool ties : {false, true}) {
      std::vector<float> logits = RandomLogits(vocab_size, static_cast<uint32_t>(vocab_size));
      if (ties) std::ranges::for_each(logits, [](float& logit) { logit = std::round(logit); });
      for (float temperature : {0.3f, 1.0f, 5.0f}) {
        for (int top_k : {0, 1, 5, 50}) {
          for (float top_p : {1.0f, 0.9f, 0.3f}) {
            check(logits, {.temperature = temperature, .top_p = top_p, .top_k = top_k});
          }
        }
        for (float top_p : {1.0f, 0.8f}) {
          check(logits, {.temperature = temperature, .top_p = top_p, .min_p = 0.05f});
          check(logits, {.temperature = temperature, .top_p = top_p, .top_k = 5, .min_p = 0.05f});
        }
      }
    }
  }
  EXPECT_EQ(settings, 2 * 2 * 3 * 16);
}

TEST(CudaSampleAgreement, KeepsWhatTheCpuKeepsOfALargeVocabulary) {
  const std::vector<float> logits = RandomLogits(49152, 8);
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.top_k = 50}, SamplingParams{.temperature = 0.7f, .top_p = 0.95f},
        SamplingParams{.temperature = 2.0f, .top_p = 0.9f, .top_k = 5000, .min_p = 0.001f}}) {
    ExpectKeeps(logits, params, KeptOnHost(logits, params));
  }
}

TEST(CudaSampleAgreement, AgreesWithTheCpuWhateverIsAskedFor) {
  int compared = 0;
  for (const auto& [vocab_size, num_rows] : {std::pair(17, 250), std::pair(1000, 250), std::pair(49152, 40)}) {
    std::mt19937 random(vocab_size);
    std::vector<float> logits;
    std::vector<Wish> wishes;
    for (int i = 0; i < num_rows; ++i) {
      std::vector<float> row = RandomLogits(vocab_size, i, i % 3 == 0 ? 0.3f : 3.0f);
      if (i % 5 == 0) std::ranges::for_each(row, [](float& logit) { logit = std::round(logit); });
      logits.insert(logits.end(), row.begin(), row.end());
      wishes.push_back(RandomWish(random, vocab_size));
    }
    std::vector<std::vector<TokenAdjustment>> adjustments;
    const std::vector<SampleRow> rows = RowsOf(wishes, vocab_size, true, adjustments);
    const std::vector<SampledRow> sampled = SampleOnDevice({logits.data(), num_rows, vocab_size, vocab_size}, rows);
    for (int i = 0; i < num_rows; ++i) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << i);
      const std::span<const float> row_logits(&logits[int64_t{i} * vocab_size], vocab_size);
      const SampledToken expected = SampleOnHost(row_logits, wishes[i].row);
      ASSERT_EQ(sampled[i].ok, expected.status.ok());
      if (!expected.status.ok()) continue;
      // Rounding may decide at a border.
      if (SampleNaively(row_logits, wishes[i].row, SampleEndTokens()).margin < 1e-6) continue;
      ++compared;
      ASSERT_EQ(sampled[i].token, expected.token);
      ASSERT_NEAR(sampled[i].logprob, expected.logprob, 3e-6 * std::max(1.0f, -expected.logprob));
    }
  }
  EXPECT_GT(compared, 500);
}

TEST(CudaSampleAgreement, KeepsLowerIdsOfEquals) {
  const std::vector<float> logits(1000, -1.5f);
  for (const SamplingParams& params : {SamplingParams{.top_k = 300}, SamplingParams{.top_k = 2},
                                       SamplingParams{.top_p = 0.5f}, SamplingParams{.top_p = 0.5f, .top_k = 600}}) {
    const size_t count = params.top_p < 1 ? (params.top_k > 0 ? 300 : 500) : params.top_k;
    std::vector<Candidate> kept;
    for (size_t i = 0; i < count; ++i) kept.push_back({-1.5f, static_cast<TokenId>(i), 1.0f});
    ExpectKeeps(logits, params, kept);
  }
}

TEST(CudaSampleAgreement, HandlesTheEndsOfTheRangeOfFloatsAsTheCpuDoes) {
  std::vector<float> two_huge = RandomLogits(700, 3);
  two_huge[40] = kHuge;
  two_huge[600] = -kHuge;
  std::vector<float> all_lowest(700, -kHuge);
  std::vector<float> tiny(700, std::numeric_limits<float>::denorm_min());
  tiny[300] = 0;
  for (const std::vector<float>& logits : {two_huge, all_lowest, tiny}) {
    for (const SamplingParams& params :
         {SamplingParams{.logprobs = 0}, SamplingParams{.top_k = 3, .logprobs = 0},
          SamplingParams{.temperature = 1e-38f, .top_p = 0.5f, .logprobs = 0},
          SamplingParams{.temperature = 1e-45f, .logprobs = 0}, SamplingParams{.min_p = 0.1f, .logprobs = 0}}) {
      for (int position = 0; position < 5; ++position) {
        Wish wish{.params = params, .tokens = {}, .row = {.seed = 3, .position = position}};
        std::vector<Wish> wishes = {wish};
        std::vector<std::vector<TokenAdjustment>> adjustments;
        const SampledRow sampled = SampleOne(logits, RowsOf(wishes, 700, false, adjustments)[0]);
        const SampledToken expected = SampleOnHost(logits, wishes[0].row);
        EXPECT_TRUE(sampled.ok);
        EXPECT_EQ(sampled.token, expected.token);
        EXPECT_FLOAT_EQ(sampled.logprob, expected.logprob);
      }
    }
  }
}

void ExpectDrawnInProportion(std::span<const float> logits, const SamplingParams& params, int num_draws) {
  constexpr int kRows = 250;
  std::vector<int> counts(logits.size());
  for (int first = 0; first < num_draws; first += kRows) {
    std::vector<SampleRow> rows;
    for (int i = 0; i < kRows; ++i) {
      rows.push_back({.temperature = params.temperature,
                      .top_p = params.top_p,
                      .top_k = params.top_k,
                      .uniform = UniformAt(123456789, first + i)});
    }
    for (const SampledRow& sampled : SampleOnDevice(logits, rows)) ++counts[sampled.token];
  }
  const std::vector<double> expected = SampleNaively(logits, {.params = &params}, SampleEndTokens()).probabilities;
  double chi_square = 0, rare_expected = 0, rare_count = 0;  // Tokens of few expected draws are taken together.
  int degrees = 0;
  const auto add = [&](double count, double want) {
    chi_square += (count - want) * (count - want) / want;
    ++degrees;
  };
  for (size_t token = 0; token < logits.size(); ++token) {
    const double want = expected[token] * num_draws;
    if (want == 0) {
      EXPECT_EQ(counts[token], 0) << token;
    } else if (want < 10) {
      rare_expected += want;
      rare_count += counts[token];
    } else {
      add(counts[token], want);
    }
  }
  if (rare_expected > 0) add(rare_count, rare_expected);
  EXPECT_GT(degrees, 50);
  // Mean degrees, deviation sqrt(2 degrees): five deviations.
  EXPECT_LT(chi_square, degrees + 5 * std::sqrt(2.0 * degrees)) << degrees;
}

TEST(CudaSampleAgreement, DrawsInProportionToTheProbabilities) {
  const std::vector<float> logits = RandomLogits(300, 4, 1.5f);
  ExpectDrawnInProportion(logits, {.temperature = 1.2f}, kSanitized ? 4000 : 20000);
  ExpectDrawnInProportion(logits, {.temperature = 1.2f, .top_p = 0.95f, .top_k = 100}, kSanitized ? 2000 : 5000);
}

}  // namespace
}  // namespace quire
