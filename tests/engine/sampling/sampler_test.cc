#include "engine/sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "tests/engine/sampling/naive_sampler.h"

namespace quire {
namespace {

const std::vector<TokenId> kEos = {2};

std::vector<float> RandomLogits(size_t size, uint32_t seed, float spread = 3.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

SampledToken SampleOne(std::span<const float> logits, const LogitRow& row) {
  Sampler sampler(static_cast<int>(logits.size()), kEos);
  SampledToken out;
  sampler.Sample(logits, row, &out);
  return out;
}

// How often each token is drawn at `draws` consecutive positions.
std::vector<int> Histogram(std::span<const float> logits, LogitRow row, int draws) {
  Sampler sampler(static_cast<int>(logits.size()), kEos);
  std::vector<int> counts(logits.size());
  SampledToken out;
  for (row.position = 0; row.position < draws; ++row.position) {
    sampler.Sample(logits, row, &out);
    EXPECT_TRUE(out.status.ok());
    ++counts[out.token];
  }
  return counts;
}

std::set<TokenId> Support(std::span<const float> logits, const LogitRow& row) {
  const std::vector<int> counts = Histogram(logits, row, 4000);
  std::set<TokenId> support;
  for (size_t token = 0; token < counts.size(); ++token) {
    if (counts[token] > 0) support.insert(static_cast<TokenId>(token));
  }
  return support;
}

TEST(Sampler, GreedyTakesTheLikeliestAndOfEqualsTheLowestId) {
  SamplingParams params{.temperature = 0};
  const LogitRow row{.params = &params};
  std::vector<float> logits = RandomLogits(1000, 1);
  logits[77] = logits[700] = logits[999] = 20.0f;
  EXPECT_EQ(SampleOne(logits, row).token, 77);
  logits[0] = 20.0f;
  EXPECT_EQ(SampleOne(logits, row).token, 0);
  logits[999] = 21.0f;
  EXPECT_EQ(SampleOne(logits, row).token, 999);
}

TEST(Sampler, GreedyHeedsBiasAndPenaltiesButNoFilter) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.5f, 0.0f};
  SamplingParams params{.temperature = 0, .top_p = 0.1f, .top_k = 1, .min_p = 1.0f};
  const std::vector<TokenId> tokens = {1};
  LogitRow row{.params = &params, .tokens = tokens, .num_prompt_tokens = 1};
  EXPECT_EQ(SampleOne(logits, row).token, 1);
  params.repetition_penalty = 2.0f;
  EXPECT_EQ(SampleOne(logits, row).token, 2);
  params.logit_bias = {{3, 50.0f}};
  EXPECT_EQ(SampleOne(logits, row).token, 3);
}

TEST(Sampler, DrawsInProportionToTheSoftmax) {
  constexpr int kDraws = 40000;
  const std::vector<float> logits = RandomLogits(600, 4, 1.5f);
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.temperature = 0.6f}, SamplingParams{.temperature = 3.0f},
        SamplingParams{.top_p = 0.8f}, SamplingParams{.top_k = 40}, SamplingParams{.min_p = 0.05f}}) {
    const LogitRow row{.params = &params, .seed = 123456789};
    const std::vector<int> counts = Histogram(logits, row, kDraws);
    const std::vector<double> expected = SampleNaively(logits, row, kEos).probabilities;
    double chi_square = 0;
    double rare_expected = 0, rare_count = 0;  // Bins of few expected draws are taken together.
    int degrees = 0;
    const auto add = [&](double count, double want) {
      chi_square += (count - want) * (count - want) / want;
      ++degrees;
    };
    for (size_t token = 0; token < logits.size(); ++token) {
      const double want = expected[token] * kDraws;
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
    // Mean degrees, deviation sqrt(2 degrees): five deviations.
    EXPECT_LT(chi_square, degrees + 5 * std::sqrt(2.0 * degrees)) << degrees;
  }
}

TEST(Sampler, TopKKeepsExactlyKAlsoAmongEquals) {
  std::vector<float> logits(1000, 1.0f);
  logits[500] = 2.0f;
  SamplingParams params{.temperature = 50.0f, .top_k = 4};
  const LogitRow row{.params = &params, .seed = 9};
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{0, 1, 2, 500}));
}

TEST(Sampler, TopKOneIsGreedyAtAnyTemperature) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const std::vector<float> logits = RandomLogits(5000, seed, 0.01f);
    SamplingParams hot{.temperature = 100.0f, .top_k = 1};
    SamplingParams cold{.temperature = 0};
    EXPECT_EQ(SampleOne(logits, {.params = &hot, .seed = seed}).token, SampleOne(logits, {.params = &cold}).token);
  }
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.4, 0.3, 0.2, 0.1 at ids 3, 1, 0, 2.
  const std::vector<float> logits = {std::log(0.2f), std::log(0.3f), std::log(0.1f), std::log(0.4f)};
  SamplingParams params;
  const LogitRow row{.params = &params};
  const std::vector<std::pair<float, std::set<TokenId>>> cases = {
      {0.01f, {3}}, {0.39f, {3}}, {0.41f, {1, 3}}, {0.69f, {1, 3}}, {0.71f, {0, 1, 3}}, {0.91f, {0, 1, 2, 3}}};
  for (const auto& [top_p, support] : cases) {
    params.top_p = top_p;
    EXPECT_EQ(Support(logits, row), support) << top_p;
  }
}

TEST(Sampler, TopPIsRenormalisedOverWhatTopKLeaves) {
  const std::vector<float> logits = {std::log(0.2f), std::log(0.3f), std::log(0.1f), std::log(0.4f)};
  // Of 0.4 and 0.3 the first holds 0.571.
  SamplingParams params{.top_p = 0.55f, .top_k = 2};
  EXPECT_EQ(Support(logits, {.params = &params}), (std::set<TokenId>{3}));
  params.top_p = 0.6f;
  EXPECT_EQ(Support(logits, {.params = &params}), (std::set<TokenId>{1, 3}));
}

TEST(Sampler, MinPDropsWhatIsFarLessLikelyThanTheLikeliest) {
  const std::vector<float> logits = {std::log(0.2f), std::log(0.3f), std::log(0.1f), std::log(0.4f)};
  SamplingParams params{.min_p = 0.49f};
  EXPECT_EQ(Support(logits, {.params = &params}), (std::set<TokenId>{0, 1, 3}));
  params.min_p = 0.51f;
  EXPECT_EQ(Support(logits, {.params = &params}), (std::set<TokenId>{1, 3}));
  params.min_p = 1.0f;
  EXPECT_EQ(Support(logits, {.params = &params}), (std::set<TokenId>{3}));
}

TEST(Sampler, AVanishingTemperatureIsGreedy) {
  const std::vector<float> logits = RandomLogits(300, 8);
  for (float temperature : {1e-4f, 1e-30f, std::numeric_limits<float>::denorm_min()}) {
    SamplingParams params{.temperature = temperature};
    SamplingParams nucleus{.temperature = temperature, .top_p = 0.9f};
    const TokenId likeliest = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    EXPECT_EQ(SampleOne(logits, {.params = &params}).token, likeliest) << temperature;
    EXPECT_EQ(SampleOne(logits, {.params = &nucleus}).token, likeliest) << temperature;
  }
}

TEST(Sampler, RepetitionLooksAtPromptAndOutputTheOthersAtTheOutput) {
  // Greedy shows which logit is highest after the penalty.
  const std::vector<TokenId> tokens = {0, 0, 1, 1, 3};  // Prompt 0 0, output 1 1 3.
  SamplingParams params{.temperature = 0};
  LogitRow row{.params = &params, .tokens = tokens, .num_prompt_tokens = 2};
  const auto choose = [&](const std::vector<float>& logits) { return SampleOne(logits, row).token; };

  params.repetition_penalty = 2.0f;
  EXPECT_EQ(choose({4.0f, 3.9f, 0.0f, 0.0f, 2.1f}), 4);       // 2.0, 1.95 against 2.1: once, however often seen.
  EXPECT_EQ(choose({-1.0f, -1.1f, -9.0f, -1.0f, -1.9f}), 4);  // Negative ones move away from zero.
  params.repetition_penalty = 1.0f;

  params.presence_penalty = 1.0f;
  EXPECT_EQ(choose({4.0f, 4.5f, 0.0f, 4.5f, 0.0f}), 0);
  EXPECT_EQ(choose({3.0f, 4.5f, 0.0f, 4.4f, 0.0f}), 1);  // Once for two occurrences.
  params.presence_penalty = 0.0f;

  params.frequency_penalty = 1.0f;
  EXPECT_EQ(choose({3.0f, 4.5f, 0.0f, 4.4f, 0.0f}), 3);  // 4.5 - 2 against 4.4 - 1.
}

TEST(Sampler, PenaltiesOfOneRowDoNotReachTheNext) {
  Sampler sampler(4, kEos);
  SamplingParams params{.temperature = 0, .presence_penalty = 2.0f};
  const std::vector<TokenId> tokens = {1};
  const std::vector<float> logits = {1.0f, 2.0f, 0.0f, 0.0f};
  SampledToken out;
  for (int repeat = 0; repeat < 3; ++repeat) {
    sampler.Sample(logits, {.params = &params, .tokens = tokens, .num_prompt_tokens = 0}, &out);
    EXPECT_EQ(out.token, 0);
    sampler.Sample(logits, {.params = &params, .tokens = {}, .num_prompt_tokens = 0}, &out);
    EXPECT_EQ(out.token, 1);
  }
}

TEST(Sampler, ForbidStopTakesEndAndStopTokensOut) {
  SamplingParams params{.stop_token_ids = {1}};
  params.logit_bias = {{2, 100.0f}};
  LogitRow row{.params = &params};
  const std::vector<float> logits = {0.0f, 50.0f, 50.0f, 0.0f};
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{2}));
  row.forbid_stop = true;
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{0, 3}));
  params.top_k = 3;  // Fewer than three are left.
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{0, 3}));
  params.top_k = 0;
  params.top_p = 0.99f;
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{0, 3}));
  params.stop_token_ids = {0, 1, 3};
  EXPECT_FALSE(SampleOne(logits, row).status.ok());
  params.temperature = 0;
  EXPECT_FALSE(SampleOne(logits, row).status.ok());
}

TEST(Sampler, RefusesARowThatIsNotFinite) {
  std::vector<SamplingParams> all = {SamplingParams{.temperature = 0}, SamplingParams{}, SamplingParams{.top_p = 0.5f},
                                     SamplingParams{.top_k = 3}, SamplingParams{.min_p = 0.5f, .logprobs = 3}};
  const float kInfinity = std::numeric_limits<float>::infinity();
  Sampler sampler(700, kEos);
  SampledToken out;
  for (const SamplingParams& params : all) {
    for (float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> logits = RandomLogits(700, 3);
      logits[650] = bad;
      sampler.Sample(logits, {.params = &params}, &out);
      EXPECT_FALSE(out.status.ok());
      sampler.Sample(logits, {.params = &params, .score = 1}, &out);
      EXPECT_FALSE(out.status.ok());
      logits[650] = 0.0f;
      sampler.Sample(logits, {.params = &params}, &out);
      EXPECT_TRUE(out.status.ok());  // One bad row leaves nothing behind.
    }
  }
}

TEST(Sampler, ReportsTheModelsLogprobsWhateverIsDoneToTheLogits) {
  const std::vector<float> logits = RandomLogits(3000, 6);
  const std::vector<double> expected = LogProbabilities(logits);
  std::vector<TokenId> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });

  SamplingParams params{.temperature = 2.0f, .top_k = 50, .repetition_penalty = 1.3f, .logprobs = 20};
  params.logit_bias = {{order[0], -100.0f}};
  const SampledToken out = SampleOne(logits, {.params = &params, .seed = 4});
  EXPECT_NEAR(out.logprob, expected[out.token], 1e-5);
  ASSERT_EQ(out.top.size(), 20u);
  for (size_t i = 0; i < out.top.size(); ++i) {
    EXPECT_EQ(out.top[i].first, order[i]);
    EXPECT_NEAR(out.top[i].second, expected[order[i]], 1e-5);
  }
  params.logprobs = 0;
  const SampledToken own_only = SampleOne(logits, {.params = &params, .seed = 4});
  EXPECT_EQ(own_only.logprob, out.logprob);
  EXPECT_TRUE(own_only.top.empty());
}

TEST(Sampler, ScoresAGivenTokenWithoutChoosing) {
  const std::vector<float> logits = RandomLogits(3000, 7);
  SamplingParams params{.temperature = 2.0f, .logprobs = 7, .prompt_logprobs = 2};
  const SampledToken out = SampleOne(logits, {.params = &params, .score = 1234});
  EXPECT_EQ(out.token, 1234);
  EXPECT_NEAR(out.logprob, LogProbabilities(logits)[1234], 1e-5);
  EXPECT_EQ(out.top.size(), 2u);
}

TEST(Sampler, FillsTheOutputAnewEachTime) {
  const std::vector<float> logits = RandomLogits(100, 7);
  SamplingParams with{.logprobs = 5};
  SamplingParams without;
  Sampler sampler(100, kEos);
  SampledToken out;
  out.status = absl::InternalError("left over");
  sampler.Sample(logits, {.params = &with}, &out);
  EXPECT_TRUE(out.status.ok());
  EXPECT_EQ(out.top.size(), 5u);
  sampler.Sample(logits, {.params = &without}, &out);
  EXPECT_EQ(out.logprob, 0.0f);
  EXPECT_TRUE(out.top.empty());
}

TEST(Sampler, TheDrawDependsOnSeedAndPositionOnly) {
  const std::vector<float> logits = RandomLogits(2000, 11, 1.0f);
  const std::vector<float> others = RandomLogits(2000, 12);
  SamplingParams params{.top_p = 0.95f};
  SamplingParams disturbing{.top_k = 100, .repetition_penalty = 1.5f, .logprobs = 10};
  const std::vector<TokenId> tokens = {5, 6, 7};
  Sampler quiet(2000, kEos), busy(2000, kEos);
  SampledToken out, expected;
  std::set<TokenId> seen;
  for (int position = 0; position < 200; ++position) {
    const LogitRow row{.params = &params, .seed = 99, .position = position};
    quiet.Sample(logits, row, &expected);
    busy.Sample(others, {.params = &disturbing, .seed = 1, .position = 3, .tokens = tokens}, &out);
    busy.Sample(logits, row, &out);
    EXPECT_EQ(out.token, expected.token);
    seen.insert(out.token);
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST(Sampler, ChoosesNothingThatAConstraintForbidsAndReportsTheModelsProbabilities) {
  const std::vector<float> logits = RandomLogits(100, 3);
  SamplingParams params{.logit_bias = {{7, 100.0f}}, .logprobs = 2};
  const std::vector<uint32_t> allowed = {0, 1u << 8 | 1u << 9, 0, 0};
  const LogitRow row{.params = &params, .allowed = allowed};
  EXPECT_EQ(Support(logits, row), (std::set<TokenId>{40, 41}));
  params.temperature = 0;
  const SampledToken greedy = SampleOne(logits, row);
  EXPECT_EQ(greedy.token, logits[40] >= logits[41] ? 40 : 41);
  EXPECT_NEAR(greedy.logprob, LogProbabilities(logits)[greedy.token], 1e-4);
  EXPECT_EQ(greedy.top[0].first, std::max_element(logits.begin(), logits.end()) - logits.begin());
}

SamplingParams RandomParams(std::mt19937& random, int vocab_size) {
  const auto chance = [&](double p) { return std::bernoulli_distribution(p)(random); };
  const auto between = [&](float low, float high) { return std::uniform_real_distribution<float>(low, high)(random); };
  const auto token = [&] { return std::uniform_int_distribution<TokenId>(0, vocab_size - 1)(random); };
  SamplingParams params;
  params.temperature = chance(0.1) ? 0.0f : between(0.2f, 3.0f);
  if (chance(0.5)) params.top_p = between(0.05f, 1.0f);
  if (chance(0.5)) params.top_k = std::uniform_int_distribution<int>(1, chance(0.5) ? 20 : vocab_size + 5)(random);
  if (chance(0.3)) params.min_p = between(0.0f, 0.3f);
  if (chance(0.3)) params.repetition_penalty = between(0.5f, 2.0f);
  if (chance(0.3)) params.presence_penalty = between(-2.0f, 2.0f);
  if (chance(0.3)) params.frequency_penalty = between(-2.0f, 2.0f);
  if (chance(0.3)) params.logit_bias = {{token(), between(-100.0f, 100.0f)}, {token(), between(-2.0f, 2.0f)}};
  params.stop_token_ids = {token()};
  return params;
}

TEST(Sampler, AgreesWithTheDefinition) {
  int compared = 0;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const int vocab_size = std::uniform_int_distribution<int>(5, 1500)(random);
    std::vector<float> logits = RandomLogits(vocab_size, seed, seed % 3 == 0 ? 0.3f : 3.0f);
    if (seed % 5 == 0) {
      for (float& logit : logits) logit = std::round(logit);  // Many ties.
    }
    const SamplingParams params = RandomParams(random, vocab_size);
    std::vector<TokenId> tokens(std::uniform_int_distribution<int>(0, 40)(random));
    for (TokenId& token : tokens) token = std::uniform_int_distribution<TokenId>(0, vocab_size - 1)(random);
    std::vector<uint32_t> allowed(seed % 3 == 1 ? (vocab_size + 31) / 32 : 0);
    for (uint32_t& word : allowed) word = std::array{0u, ~0u, static_cast<uint32_t>(random())}[random() % 3];
    if (!allowed.empty()) allowed[0] |= 0x3b;  // Something is left beside stop tokens.
    const LogitRow row{.params = &params,
                       .seed = random(),
                       .position = static_cast<int>(tokens.size()),
                       .tokens = tokens,
                       .num_prompt_tokens = static_cast<int>(tokens.size() / 2),
                       .forbid_stop = seed % 4 == 0,
                       .allowed = allowed};
    const NaiveChoice expected = SampleNaively(logits, row, kEos);
    if (expected.margin < 1e-5) continue;
    ++compared;
    const SampledToken out = SampleOne(logits, row);
    ASSERT_TRUE(out.status.ok());
    ASSERT_EQ(out.token, expected.token);
  }
  EXPECT_GT(compared, 2500);
}

}  // namespace
}  // namespace quire
