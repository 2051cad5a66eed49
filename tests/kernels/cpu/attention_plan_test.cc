#include "kernels/cpu/attention_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {
namespace {

constexpr uint32_t kSeed = 20260102;

// How many pieces of work a (tile, KV head, chunk) that somebody sees is in.
std::map<std::tuple<int, int, int>, int> PiecesOf(const AttentionPlan& plan) {
  std::map<std::tuple<int, int, int>, int> pieces;
  for (const AttentionWork& work : plan.work()) {
    for (int tile = work.begin_tile; tile < work.end_tile; ++tile) {
      for (int chunk = work.begin_chunk; chunk < work.end_chunk; ++chunk) {
        const AttentionTile& t = plan.tiles()[tile];
        if (chunk >= t.begin_chunk && chunk < t.end_chunk) ++pieces[{tile, work.kv_head, chunk}];
      }
    }
  }
  return pieces;
}

TEST(AttentionPlan, HasEveryChunkOfEveryTileOnce) {
  std::mt19937 random(kSeed);
  AttentionPlan plan;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(absl::StrCat("seed ", kSeed, " round ", round));
    const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    const int page_size = 16 << draw(0, 3);
    std::vector<SequenceShape> shapes;
    for (int s = draw(1, 20); s > 0; --s) {
      const int pages = shapes.empty() ? 0 : (shapes.back().context_len - 1) / page_size;
      const int num_shared = draw(0, 2) > 0 ? draw(0, pages) * page_size : 0;
      const int num_new = draw(1, 600);
      shapes.push_back({num_shared + num_new, draw(0, 3) > 0 ? 1 : draw(0, num_new), num_shared});
    }
    const PagedBatch batch(shapes, page_size, PagesFor(shapes, page_size), random);
    plan.Update(batch.view(), {.num_kv_heads = draw(1, 3),
                               .group = draw(1, 9),
                               .page_size = page_size,
                               .sliding_window = draw(0, 2) == 0 ? draw(1, 700) : 0,
                               .num_workers = draw(1, 4)});
    const auto pieces = PiecesOf(plan);
    size_t expected = 0;
    int tokens = 0;
    int num_kv_heads = 0;
    for (const AttentionWork& work : plan.work()) num_kv_heads = std::max(num_kv_heads, work.kv_head + 1);
    for (const AttentionTile& tile : plan.tiles()) {
      expected += num_kv_heads * (tile.end_chunk - tile.begin_chunk);
      tokens += tile.end_token - tile.begin_token;
    }
    EXPECT_EQ(tokens, batch.view().num_tokens());
    EXPECT_EQ(pieces.size(), expected);
    for (const auto& [place, count] : pieces) EXPECT_EQ(count, 1);
    // Work that is not a whole tile needs somewhere to leave its results.
    for (const AttentionWork& work : plan.work()) {
      for (int i = work.begin_tile; i < work.end_tile; ++i) {
        const AttentionTile& tile = plan.tiles()[i];
        const bool whole = work.end_tile == work.begin_tile + 1 && work.begin_chunk == tile.begin_chunk &&
                           work.end_chunk == tile.end_chunk;
        EXPECT_TRUE(whole || tile.first_partial >= 0 || work.begin_chunk >= tile.end_chunk ||
                    work.end_chunk <= tile.begin_chunk);
      }
    }
  }
}

TEST(AttentionPlan, PutsAChunkOnCommonPagesIntoOnePiece) {
  std::mt19937 random(kSeed);
  std::vector<SequenceShape> shapes(16, {.context_len = 1124, .num_queries = 1, .num_shared = 1024});
  shapes[0].num_shared = 0;
  const PagedBatch batch(shapes, 32, PagesFor(shapes, 32), random);
  AttentionPlan plan;
  plan.Update(batch.view(), {.num_kv_heads = 3, .group = 3, .page_size = 32, .num_workers = 2});
  int shared = 0;
  for (const AttentionWork& work : plan.work()) shared += work.end_tile - work.begin_tile == 16;
  EXPECT_EQ(shared, 3 * 4);
  EXPECT_EQ(plan.work().size(), 3u * (4 + 16));
  EXPECT_EQ(plan.max_rows(), 48);
}

TEST(AttentionPlan, NoticesAStepThatDiffersInPagesOnly) {
  std::mt19937 random(kSeed);
  std::vector<SequenceShape> shapes(2, {.context_len = 300, .num_queries = 1});
  const AttentionPlan::Shape shape{.num_kv_heads = 1, .group = 1, .page_size = 32, .num_workers = 1};
  AttentionPlan plan;
  plan.Update(PagedBatch(shapes, 32, 20, random).view(), shape);
  EXPECT_EQ(plan.work().size(), 2u);
  shapes[1].num_shared = 256;
  plan.Update(PagedBatch(shapes, 32, 20, random).view(), shape);
  EXPECT_EQ(plan.work().size(), 3u);
}

}  // namespace
}  // namespace quire
