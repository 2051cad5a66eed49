#include "kernels/cuda/attention_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20260302;

std::vector<CudaAttentionItem> AllItems(const CudaAttentionPlan& plan) {
  std::vector<CudaAttentionItem> items(plan.small_items().begin(), plan.small_items().end());
  items.insert(items.end(), plan.large_items().begin(), plan.large_items().end());
  return items;
}

std::pair<int, int> Visible(const PagedBatchView& batch, int token, int window) {
  const int end = batch.positions[token] + 1;
  return {window > 0 ? std::max(0, end - window) : 0, end};
}

int SequenceOf(const PagedBatchView& batch, int token) {
  return static_cast<int>(std::ranges::upper_bound(batch.query_start, token) - batch.query_start.begin()) - 1;
}

// Checks what kernels rely on: every visible position of every token is in one item, of which it is told the right
// pages; items begin and end between splits or where nobody sees more; states have places of their own.
void CheckPlan(const CudaAttentionPlan& plan, const PagedBatchView& batch, const CudaAttentionPlan::Shape& shape) {
  std::vector<std::vector<int>> covered(batch.num_tokens());
  for (int token = 0; token < batch.num_tokens(); ++token) covered[token].resize(batch.positions[token] + 1);
  std::vector<int> items_of(batch.num_tokens());
  for (const CudaAttentionItem& item : AllItems(plan)) {
    ASSERT_LT(item.begin, item.end);
    ASSERT_GE(item.num_tokens, 1);
    ASSERT_LE(item.num_tokens * shape.group, shape.max_tile_rows);
    if (item.num_tokens * shape.group <= kCudaWarpRows) {
      ASSERT_EQ(item.begin / kCudaSplitTokens, (item.end - 1) / kCudaSplitTokens);
    }
    int begin = item.end, end = item.begin;
    for (const int32_t token : plan.tokens().subspan(item.first_token, item.num_tokens)) {
      const auto [visible_begin, visible_end] = Visible(batch, token, shape.sliding_window);
      const int token_begin = std::max(visible_begin, item.begin), token_end = std::min(visible_end, item.end);
      ASSERT_EQ(item.is_cut == 1, plan.first_partials()[token] >= 0);
      if (token_begin >= token_end) continue;
      ++items_of[token];
      begin = std::min(begin, token_begin);
      end = std::max(end, token_end);
      for (int position = token_begin; position < token_end; ++position) ++covered[token][position];
      const int sequence_page = batch.block_indptr[SequenceOf(batch, token)];
      for (int page = token_begin / shape.page_size; page <= (token_end - 1) / shape.page_size; ++page) {
        ASSERT_EQ(batch.block_indices[item.first_page + page], batch.block_indices[sequence_page + page]);
      }
      ASSERT_TRUE(token_begin == visible_begin || token_begin % kCudaSplitTokens == 0);
      ASSERT_TRUE(token_end == visible_end || token_end % kCudaSplitTokens == 0);
    }
    EXPECT_LE(item.begin, begin);
    EXPECT_GE(item.end, end);
  }
  int64_t num_partials = 0;
  std::vector<int32_t> cut_tokens;
  for (const int32_t token : plan.tokens()) {
    const auto [begin, end] = Visible(batch, token, shape.sliding_window);
    for (int position = 0; position < end; ++position) ASSERT_EQ(covered[token][position], position >= begin ? 1 : 0);
    ASSERT_TRUE(items_of[token] == 1 || plan.first_partials()[token] >= 0);
    if (plan.first_partials()[token] < 0) continue;
    ASSERT_EQ(plan.first_partials()[token], num_partials);
    num_partials += (end + kCudaSplitTokens - 1) / kCudaSplitTokens - begin / kCudaSplitTokens;
    cut_tokens.push_back(token);
  }
  EXPECT_EQ(plan.tokens().size(), static_cast<size_t>(batch.num_tokens()));
  EXPECT_EQ(plan.num_partials(), num_partials);
  EXPECT_THAT(plan.cut_tokens(), testing::ElementsAreArray(cut_tokens));
}

TEST(CudaAttentionPlan, HasEveryVisiblePositionOfEveryTokenOnce) {
  std::mt19937 random(kSeed);
  CudaAttentionPlan plan;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(absl::StrCat("seed ", kSeed, " round ", round));
    const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    const int page_size = 16 * draw(1, 9);
    std::vector<SequenceShape> shapes;
    for (int s = draw(1, 20); s > 0; --s) {
      const int pages = shapes.empty() ? 0 : (shapes.back().context_len - 1) / page_size;
      const int num_shared = draw(0, 2) > 0 ? draw(0, pages) * page_size : 0;
      const int num_new = draw(1, 900);
      shapes.push_back({num_shared + num_new, draw(0, 3) > 0 ? 1 : draw(0, num_new), num_shared});
    }
    const PagedBatch batch(shapes, page_size, PagesFor(shapes, page_size), random);
    const CudaAttentionPlan::Shape shape{.num_kv_heads = draw(1, 3),
                                         .group = draw(1, kCudaWarpRows),
                                         .page_size = page_size,
                                         .num_pages = 1 << 20,
                                         .sliding_window = draw(0, 2) == 0 ? draw(1, 1500) : 0,
                                         .max_tile_rows = 16 << draw(1, 3),
                                         .num_workers = draw(1, 40),
                                         .share_pages = draw(0, 3) > 0};
    plan.Update(batch.view(), shape);
    CheckPlan(plan, batch.view(), shape);
    if (HasFatalFailure()) return;
  }
}

TEST(CudaAttentionPlan, PutsSplitsOnCommonPagesIntoOneItem) {
  std::mt19937 random(kSeed);
  std::vector<SequenceShape> shapes(16, {.context_len = 1124, .num_queries = 1, .num_shared = 1024});
  shapes[0].num_shared = 0;
  const PagedBatch batch(shapes, 32, PagesFor(shapes, 32), random);
  CudaAttentionPlan::Shape shape{.num_kv_heads = 3, .group = 3, .page_size = 32, .num_pages = 1000, .num_workers = 2};
  CudaAttentionPlan plan;
  plan.Update(batch.view(), shape);
  ASSERT_EQ(plan.large_items().size(), 1u);  // 48 rows
  EXPECT_EQ(plan.large_items()[0].num_tokens, 16);
  EXPECT_EQ(plan.large_items()[0].begin, 0);
  EXPECT_EQ(plan.large_items()[0].end, 1024);
  EXPECT_EQ(plan.small_items().size(), 16u);
  for (const CudaAttentionItem& item : plan.small_items()) EXPECT_EQ(item.begin, 1024);
  EXPECT_EQ(plan.num_partials(), 16 * 3);
  shape.share_pages = false;
  plan.Update(batch.view(), shape);
  EXPECT_TRUE(plan.large_items().empty());
  EXPECT_EQ(plan.small_items().size(), 16u * 3);
  EXPECT_EQ(plan.num_partials(), 16 * 3);
}

TEST(CudaAttentionPlan, CutsLargeItemsForManyWorkersOnly) {
  std::mt19937 random(kSeed);
  const std::vector<SequenceShape> shapes = {{.context_len = 10000, .num_queries = 5}, {100, 1}};
  const PagedBatch batch(shapes, 16, PagesFor(shapes, 16), random);
  CudaAttentionPlan::Shape shape{.num_kv_heads = 2, .group = 4, .page_size = 16, .num_pages = 1000};
  CudaAttentionPlan plan;
  for (const auto& [num_workers, num_items] : {std::pair{1, 1}, {8, 5}, {1000, 20}}) {
    shape.num_workers = num_workers;
    plan.Update(batch.view(), shape);
    EXPECT_EQ(plan.large_items().size(), static_cast<size_t>(num_items)) << num_workers;
    EXPECT_EQ(plan.num_partials(), num_workers == 1 ? 0 : 5 * 20) << num_workers;
    // The longest first.
    EXPECT_TRUE(std::ranges::is_sorted(plan.large_items(), std::greater<>(),
                                       [](const CudaAttentionItem& item) { return item.end - item.begin; }));
  }
}

TEST(CudaAttentionPlan, CutsSmallItemsIntoSplits) {
  std::mt19937 random(kSeed);
  const std::vector<SequenceShape> shapes = {{.context_len = 1100, .num_queries = 1}, {512, 1}};
  const PagedBatch batch(shapes, 16, PagesFor(shapes, 16), random);
  CudaAttentionPlan plan;
  plan.Update(batch.view(), {.num_kv_heads = 1, .group = 4, .page_size = 16, .num_pages = 1000, .num_workers = 1});
  std::vector<std::pair<int, int>> ranges;
  for (const CudaAttentionItem& item : plan.small_items()) ranges.emplace_back(item.begin, item.end);
  EXPECT_THAT(ranges, testing::UnorderedElementsAre(std::pair(0, 512), std::pair(512, 1024), std::pair(1024, 1100),
                                                    std::pair(0, 512)));
  EXPECT_THAT(plan.cut_tokens(), testing::ElementsAre(0));
}

TEST(CudaAttentionPlan, TellsKernelsWhereItsPartsLie) {
  std::mt19937 random(kSeed);
  const std::vector<SequenceShape> shapes = {{2000, 1}, {300, 300}, {1000, 0}, {40, 2}};
  const PagedBatch batch(shapes, 16, PagesFor(shapes, 16), random);
  CudaAttentionPlan plan;
  plan.Update(batch.view(), {.num_kv_heads = 1, .group = 8, .page_size = 16, .num_pages = 1000, .num_workers = 100});
  CudaAttentionRoom room = plan.NeededRoom();
  EXPECT_EQ(room, (CudaAttentionRoom{.tokens = 303,
                                     .small_items = static_cast<int>(plan.small_items().size()),
                                     .large_items = static_cast<int>(plan.large_items().size()),
                                     .cut_tokens = 1}));
  ASSERT_GT(room.large_items, 0);
  for (const int spare : {0, 3}) {
    SCOPED_TRACE(spare);
    room.tokens += spare;
    room.small_items += spare;
    room.large_items += spare;
    room.cut_tokens += spare;
    std::vector<int32_t> words(room.num_words(), 77);
    plan.Write(room, words);
    const CudaAttentionPlanView view = CudaAttentionPlan::ViewAt(words.data(), room);
    EXPECT_EQ(view.room, room);
    EXPECT_EQ(view.large_items[0].end, plan.large_items()[0].end);
    EXPECT_TRUE(std::ranges::equal(std::span(view.tokens, 303), plan.tokens()));
    EXPECT_TRUE(std::ranges::equal(std::span(view.first_partials, 303), plan.first_partials()));
    EXPECT_EQ(view.cut_tokens[0], 0);
    EXPECT_EQ(view.cut_tokens + room.cut_tokens, words.data() + words.size());
    for (int i = 1; i <= spare; ++i) {
      EXPECT_EQ(view.small_items[room.small_items - i].num_tokens, 0);
      EXPECT_EQ(view.large_items[room.large_items - i].num_tokens, 0);
      EXPECT_EQ(view.cut_tokens[room.cut_tokens - i], -1);
    }
  }
}

}  // namespace
}  // namespace quire
