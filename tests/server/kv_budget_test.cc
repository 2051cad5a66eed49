#include "server/kv_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kPageBytes = int64_t{2} * 4 * 2 * 16 * 2 * 32;  // K and V, layers, heads, dimensions, bytes, tokens.
const KvLayout kLayout{.num_layers = 4, .num_kv_heads = 2, .head_dim = 16, .page_size = 32};
constexpr int64_t kPlenty = int64_t{1} << 40;

BackendOptions Options(int max_model_len, int64_t bytes, int max_num_seqs = 4) {
  BackendOptions options;
  options.max_model_len = max_model_len;
  options.kv_cache_bytes = bytes;
  options.max_num_seqs = max_num_seqs;
  return options;
}

TEST(KvBudget, TakesAsManyPagesAsTheSequencesCanUse) {
  EXPECT_EQ(*PlanKvBudget(Options(0, 0), kLayout, 100, kPlenty), (KvBudget{.num_pages = 16, .max_model_len = 100}));
  EXPECT_EQ(*PlanKvBudget(Options(64, 0), kLayout, 100, kPlenty), (KvBudget{.num_pages = 8, .max_model_len = 64}));
}

TEST(KvBudget, TakesNoMoreThanTheDefaultUnasked) {
  const auto budget = PlanKvBudget(Options(0, 0, 256), kLayout, 8192, 10 * kPageBytes);
  EXPECT_EQ(*budget, (KvBudget{.num_pages = 10, .max_model_len = 320}));
}

TEST(KvBudget, TakesAQuarterOfTheHostsMemoryUpToOneGibibyte) {
  EXPECT_EQ(DefaultPoolBytes(std::nullopt, 400), 100);
  EXPECT_EQ(DefaultPoolBytes(std::nullopt, kPlenty), int64_t{1} << 30);
}

TEST(KvBudget, TakesMostOfADevicesMemory) { EXPECT_EQ(DefaultPoolBytes(kPlenty, 400), kPlenty / 100 * 85); }

TEST(KvBudget, DoesWhatItIsToldWhereMemoryIsGiven) {
  const auto budget = PlanKvBudget(Options(0, 3 * kPageBytes + 1), kLayout, 8192, 0);
  EXPECT_EQ(*budget, (KvBudget{.num_pages = 3, .max_model_len = 96}));
}

TEST(KvBudget, RefusesALengthBeyondTheModel) {
  const auto budget = PlanKvBudget(Options(101, 0), kLayout, 100, kPlenty);
  EXPECT_TRUE(absl::IsInvalidArgument(budget.status()));
  EXPECT_THAT(std::string(budget.status().message()), HasSubstr("--max-model-len must be at most 100"));
}

TEST(KvBudget, RefusesALengthThatNoSequenceCanReach) {
  const auto budget = PlanKvBudget(Options(4096, 10 * kPageBytes), kLayout, 8192, kPlenty);
  EXPECT_TRUE(absl::IsInvalidArgument(budget.status()));
  EXPECT_THAT(std::string(budget.status().message()), HasSubstr("--kv-cache-memory must be at least 2MiB"));
}

TEST(KvBudget, GivesEndlessStreamsThePagesOfTheirWindow) {
  constexpr KvWindow kWindow{.sink_tokens = 32, .recent_tokens = 96, .stride_tokens = 32};
  BackendOptions options = Options(0, 0);
  options.kv_policy.sink_window = true;
  EXPECT_EQ(*PlanKvBudget(options, kLayout, 200, kPlenty, kWindow),
            (KvBudget{.num_pages = 16, .max_model_len = kEndlessModelLen}));
  options.max_model_len = 5000;
  EXPECT_EQ(PlanKvBudget(options, kLayout, 200, kPlenty, kWindow)->max_model_len, 5000);
  options.kv_cache_bytes = 3 * kPageBytes;
  EXPECT_THAT(std::string(PlanKvBudget(options, kLayout, 200, kPlenty, kWindow).status().message()),
              HasSubstr("to hold the window of one sequence"));
}

TEST(KvBudget, RefusesMemoryForLessThanAPage) {
  const auto budget = PlanKvBudget(Options(0, kPageBytes - 1), kLayout, 8192, kPlenty);
  EXPECT_THAT(std::string(budget.status().message()), HasSubstr("--kv-cache-memory must be at least"));
}

TEST(KvBudget, NumbersSlotsWithin32Bits) {
  const auto budget = PlanKvBudget(Options(0, int64_t{1} << 60), kLayout, 8192, kPlenty);
  EXPECT_LE(int64_t{budget->num_pages} * kLayout.page_size, int64_t{1} << 31);
}

}  // namespace
}  // namespace quire
