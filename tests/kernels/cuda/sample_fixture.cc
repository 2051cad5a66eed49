#include "tests/kernels/cuda/sample_fixture.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "engine/sampling/sample_row_builder.h"
#include "engine/sampling/sampler.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/sample_plan.h"

namespace quire {

std::vector<float> RandomLogits(size_t size, uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::vector<SampledRow> SampleOnDevice(MatrixView<const float> logits, std::span<const SampleRow> rows) {
  SamplePlan plan;
  plan.Begin(static_cast<int>(rows.size()), static_cast<int>(logits.cols));
  for (const SampleRow& row : rows) plan.Add(row);
  std::vector<std::byte> scratch(CudaSampleScratchBytes(plan.num_rows(), plan.vocab_size()), std::byte{0xff});
  std::vector<int32_t> tokens(rows.size(), -1);
  std::vector<SampledRow> sampled(rows.size());
  SampleOnCuda({.logits = logits.data,
                .logits_stride = logits.stride,
                .vocab_size = plan.vocab_size(),
                .plan = plan.bytes().data(),
                .num_rows = plan.num_rows(),
                .scratch = scratch.data(),
                .tokens = tokens.data(),
                .sampled = sampled.data()},
               nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(tokens[i], sampled[i].token);
  return sampled;
}

std::vector<SampledRow> SampleOnDevice(std::span<const float> logits, std::span<const SampleRow> rows) {
  const auto vocab_size = static_cast<int64_t>(logits.size());
  return SampleOnDevice({logits.data(), 1, vocab_size, vocab_size}, rows);
}

SampledRow SampleOne(std::span<const float> logits, const SampleRow& row) {
  return SampleOnDevice(logits, std::span(&row, 1))[0];
}

SampledToken SampleOnHost(std::span<const float> logits, const LogitRow& row) {
  Sampler sampler(static_cast<int>(logits.size()), SampleEndTokens());
  SampledToken out;
  sampler.Sample(logits, row, &out);
  return out;
}

Wish RandomWish(std::mt19937& random, int vocab_size) {
  const auto chance = [&](double p) { return std::bernoulli_distribution(p)(random); };
  const auto between = [&](float low, float high) { return std::uniform_real_distribution<float>(low, high)(random); };
  const auto token = [&] { return std::uniform_int_distribution<TokenId>(0, vocab_size - 1)(random); };
  Wish wish;
  SamplingParams& params = wish.params;
  params.temperature = chance(0.1) ? 0.0f : between(0.2f, 3.0f);
  if (chance(0.5)) params.top_p = between(0.05f, 1.0f);
  if (chance(0.5)) params.top_k = std::uniform_int_distribution<int>(1, chance(0.7) ? 60 : vocab_size + 5)(random);
  if (chance(0.3)) params.min_p = between(0.0f, 0.3f);
  if (chance(0.3)) params.repetition_penalty = between(0.5f, 2.0f);
  if (chance(0.3)) params.presence_penalty = between(-2.0f, 2.0f);
  if (chance(0.3)) params.frequency_penalty = between(-2.0f, 2.0f);
  if (chance(0.3)) params.logit_bias = {{0, between(-100.0f, 100.0f)}, {vocab_size - 1, between(-2.0f, 2.0f)}};
  params.logprobs = 0;
  params.stop_token_ids = {token()};
  wish.tokens.resize(std::uniform_int_distribution<int>(0, 400)(random));
  for (TokenId& known : wish.tokens) known = token();
  wish.row.seed = random();
  wish.row.position = static_cast<int>(wish.tokens.size());
  wish.row.num_prompt_tokens = static_cast<int>(wish.tokens.size() / 2);
  wish.row.forbid_stop = chance(0.25);
  return wish;
}

std::vector<SampleRow> RowsOf(std::vector<Wish>& wishes, int vocab_size, bool own_logits,
                              std::vector<std::vector<TokenAdjustment>>& adjustments) {
  SampleRowBuilder builder(vocab_size, SampleEndTokens());
  std::vector<SampleRow> rows;
  for (Wish& wish : wishes) {
    wish.row.params = &wish.params;
    wish.row.tokens = wish.tokens;
    SampleRow row = builder.Build(wish.row, own_logits ? static_cast<int32_t>(rows.size()) : 0);
    adjustments.emplace_back(row.adjustments.begin(), row.adjustments.end());
    row.adjustments = adjustments.back();
    rows.push_back(row);
  }
  return rows;
}

}  // namespace quire
