#include "kernels/cuda/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "engine/sampling/counter_rng.h"
#include "kernels/cuda/sample_plan.h"
#include "tests/cuda_shim/control.h"
#include "tests/engine/sampling/naive_sampler.h"
#include "tests/kernels/cuda/sample_fixture.h"

namespace quire {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kHuge = std::numeric_limits<float>::max();

TEST(CudaSample, GreedyTakesTheLikeliestAndOfEqualsTheLowestId) {
  const SampleRow greedy{.temperature = 0, .top_p = 0.1f, .min_p = 1.0f};
  for (size_t vocab_size : {17, 1000, 5000}) {
    std::vector<float> logits = RandomLogits(vocab_size, 1);
    logits[vocab_size - 1] = logits[vocab_size / 2] = logits[vocab_size / 2 + 3] = 20.0f;
    EXPECT_EQ(SampleOne(logits, greedy).token, vocab_size / 2);
    EXPECT_NEAR(SampleOne(logits, greedy).logprob, LogProbabilities(logits)[vocab_size / 2], 1e-5);
    logits[0] = 20.0f;
    EXPECT_EQ(SampleOne(logits, greedy).token, 0);
    logits[vocab_size - 1] = 21.0f;
    EXPECT_EQ(SampleOne(logits, greedy).token, vocab_size - 1);
  }
  std::vector<float> zeros(600, 0.0f);
  zeros[0] = -0.0f;
  EXPECT_EQ(SampleOne(zeros, greedy).token, 0);
  std::vector<float> all_huge(600, -kHuge);
  EXPECT_EQ(SampleOne(all_huge, greedy).token, 0);
}

TEST(CudaSample, RefusesARowThatIsNotFinite) {
  const std::vector<SampleRow> rows = {{.temperature = 0}, {}, {.top_p = 0.5f}, {.top_k = 3}, {.min_p = 0.5f}};
  for (float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
    for (size_t at : {size_t{0}, size_t{650}, size_t{699}}) {
      std::vector<float> logits = RandomLogits(700, 3);
      logits[at] = bad;
      for (const SampledRow& sampled : SampleOnDevice(logits, rows)) {
        EXPECT_FALSE(sampled.ok) << bad << " at " << at;
        EXPECT_EQ(sampled.token, 0);
        EXPECT_EQ(sampled.logprob, 0);
      }
      logits[at] = 0;
      for (const SampledRow& sampled : SampleOnDevice(logits, rows)) EXPECT_TRUE(sampled.ok);
    }
  }
}

TEST(CudaSample, RefusesARowOfWhichAdjustmentsLeaveNothing) {
  const std::vector<float> logits = {1.0f, 2.0f, 3.0e38f};
  std::vector<TokenAdjustment> adjustments = {{.token = 2, .forbidden = true}, {.token = 0, .forbidden = true}};
  for (SampleRow row : {SampleRow{.temperature = 0}, SampleRow{}, SampleRow{.top_k = 2}, SampleRow{.top_p = 0.5f}}) {
    row.adjustments = adjustments;
    EXPECT_TRUE(SampleOne(logits, row).ok);
    EXPECT_EQ(SampleOne(logits, row).token, 1);
    const std::vector<uint32_t> allowed = {0b101};
    row.allowed = allowed;
    EXPECT_FALSE(SampleOne(logits, row).ok);
    row.adjustments = {};
    row.allowed = {};
    const std::vector<TokenAdjustment> overflow = {{.token = 2, .output_count = 1, .seen = true}};
    row.adjustments = overflow;
    row.repetition_penalty = 0.1f;
    EXPECT_FALSE(SampleOne(logits, row).ok);
  }
}

TEST(CudaSample, WhatIsNotAllowedIsForbidden) {
  constexpr int kVocabSize = 1000;
  std::mt19937 random(44);
  const std::vector<float> logits = RandomLogits(kVocabSize, 44);
  for (double share : {0.5, 0.01}) {
    std::vector<uint32_t> allowed((kVocabSize + 31) / 32);
    std::vector<TokenAdjustment> forbidden;
    for (int token = 0; token < kVocabSize; ++token) {
      if (std::bernoulli_distribution(share)(random)) {
        allowed[token / 32] |= 1u << token % 32;
      } else {
        forbidden.push_back({.token = token, .forbidden = true});
      }
    }
    allowed.back() |= ~0u << kVocabSize % 32;  // Beyond the vocabulary, of no importance.
    std::ranges::shuffle(forbidden, random);
    std::vector<SampleRow> by_mask, by_adjustment;
    for (int i = 0; i < 40; ++i) {
      const SampleRow row{.temperature = i % 4 == 0 ? 0.0f : 2.0f,
                          .top_p = i % 3 == 0 ? 0.9f : 1.0f,
                          .top_k = i % 5 == 0 ? 20 : 0,
                          .uniform = UniformAt(9, i)};
      by_mask.push_back(row);
      by_mask.back().allowed = allowed;
      by_adjustment.push_back(row);
      by_adjustment.back().adjustments = forbidden;
    }
    const std::vector<SampledRow> a = SampleOnDevice(logits, by_mask), b = SampleOnDevice(logits, by_adjustment);
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(a[i].ok);
      EXPECT_EQ(a[i].token, b[i].token);
      EXPECT_TRUE(allowed[a[i].token / 32] >> a[i].token % 32 & 1);
    }
  }
}

TEST(CudaSample, ARowDoesNotDependOnItsCompanyOrOnTheOrderOfBlocks) {
  constexpr int kVocabSize = 2500, kRows = 24;
  std::mt19937 random(5);
  std::vector<float> logits;
  std::vector<Wish> wishes;
  for (int i = 0; i < kRows; ++i) {
    const std::vector<float> row = RandomLogits(kVocabSize, 100 + i);
    logits.insert(logits.end(), row.begin(), row.end());
    wishes.push_back(RandomWish(random, kVocabSize));
  }
  std::vector<std::vector<TokenAdjustment>> adjustments;
  const std::vector<SampleRow> rows = RowsOf(wishes, kVocabSize, true, adjustments);
  const MatrixView<const float> view = {logits.data(), kRows, kVocabSize, kVocabSize};
  const std::vector<SampledRow> together = SampleOnDevice(view, rows);
  const auto expect_same = [&](const SampledRow& sampled, int row) {
    EXPECT_EQ(sampled.token, together[row].token) << row;
    EXPECT_EQ(std::bit_cast<uint32_t>(sampled.logprob), std::bit_cast<uint32_t>(together[row].logprob)) << row;
    EXPECT_EQ(sampled.ok, together[row].ok) << row;
  };
  for (int i = 0; i < kRows; ++i) expect_same(SampleOnDevice(view, std::span(rows).subspan(i, 1))[0], i);
  const std::vector<SampleRow> reversed(rows.rbegin(), rows.rend());
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    cuda_shim::SetSchedulingSeed(seed);
    const std::vector<SampledRow> sampled = SampleOnDevice(view, reversed);
    for (int i = 0; i < kRows; ++i) expect_same(sampled[kRows - 1 - i], i);
  }
  cuda_shim::Reset();
}

TEST(CudaSample, TakesTheLargestVocabulary) {
  std::vector<float> logits = RandomLogits(kMaxSampleVocab, 6);
  const std::vector<float> nucleus_of_half = std::vector<float>(kMaxSampleVocab, 1.0f);
  Wish wish{.params = {.top_k = 50, .logprobs = 0}, .tokens = {}, .row = {.seed = 1}};
  std::vector<Wish> wishes = {wish};
  std::vector<std::vector<TokenAdjustment>> adjustments;
  const std::vector<SampleRow> rows = RowsOf(wishes, kMaxSampleVocab, false, adjustments);
  EXPECT_EQ(SampleOnDevice(logits, rows)[0].token, SampleOnHost(logits, wishes[0].row).token);
  const SampleRow half{.top_p = 0.5f, .uniform = 1 - 0x1p-53};
  EXPECT_EQ(SampleOne(nucleus_of_half, half).token, kMaxSampleVocab / 2 - 1);
}

TEST(CudaSample, PlansAStepAsLargeAsTheLastWithoutAllocating) {
  const std::vector<TokenAdjustment> adjustments = {{.token = 1}, {.token = 900}, {.token = 2}};
  const std::vector<uint32_t> allowed(32, 0xffffffff);
  SamplePlan plan;
  const std::byte* memory = nullptr;
  size_t size = 0;
  for (int step = 0; step < 3; ++step) {
    plan.Begin(3, 1000);
    plan.Add({.adjustments = adjustments});
    plan.Add({});
    plan.Add({.adjustments = adjustments, .allowed = allowed});
    if (step > 0) {
      EXPECT_EQ(plan.bytes().data(), memory);
      EXPECT_EQ(plan.bytes().size(), size);
    }
    memory = plan.bytes().data();
    size = plan.bytes().size();
  }
}

}  // namespace
}  // namespace quire
