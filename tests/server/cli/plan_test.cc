#include "server/cli/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

// Llama 3.1 70B as published: 80 layers, 64 heads, 8 of them for K and V, of 128 dimensions, 131,072 tokens.
ModelConfig Llama70B() {
  ModelConfig config;
  config.num_layers = 80;
  config.num_heads = 64;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.context_length = 131072;
  return config;
}

TEST(Plan, AgreesWithThePublishedSizesOfALargeModel) {
  PlanOptions options;
  options.concurrency = 4;
  const MemoryPlan plan = *PlanFor(Llama70B(), 140 * kGiB, 640 * kGiB, options);
  EXPECT_EQ(plan.context, 131072);
  EXPECT_EQ(plan.kv_bytes_per_token, 320 << 10);  // 2 x 80 x 8 x 128 x 2 bytes.
  EXPECT_EQ(plan.pages_per_sequence, 4096);
  EXPECT_EQ(plan.kv_bytes, 4 * 40 * kGiB);
  EXPECT_EQ(plan.sequences_that_fit, 12);  // (640 - 140) / 40
}

TEST(Plan, CountsTheScalesOfSmallerTypes) {
  PlanOptions options;
  options.kv_dtypes.key = KvDType::kInt8;
  const MemoryPlan plan = *PlanFor(Llama70B(), 0, 640 * kGiB, options);
  EXPECT_GT(plan.kv_bytes_per_token, 160 << 10);
  EXPECT_LT(plan.kv_bytes_per_token, 180 << 10);
}

TEST(Plan, GivesEndlessStreamsNoMoreThanTheirWindow) {
  PlanOptions options;
  options.context = 1 << 20;
  options.kv_policy = {.sink_window = true, .window_tokens = 8192 - 32};
  const MemoryPlan plan = *PlanFor(Llama70B(), 0, 640 * kGiB, options);
  EXPECT_EQ(plan.context, 1 << 20);
  EXPECT_EQ(plan.pages_per_sequence, 8192 / 32);
}

TEST(Plan, ModelsWithAWindowNeedItsPagesOnly) {
  ModelConfig config = Llama70B();
  config.sliding_window = 4096;
  EXPECT_EQ(PlanFor(config, 0, kGiB, {})->pages_per_sequence, (4096 + 512) / 32);
}

TEST(Plan, RefusesAContextBeyondTheModels) {
  PlanOptions options;
  options.context = 131073;
  const absl::Status status = PlanFor(Llama70B(), 0, kGiB, options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--context must be at most the model's 131072"));
}

}  // namespace
}  // namespace quire
