#include "kernels/cuda/step_graphs.h"

#include <gtest/gtest.h>

#include <vector>

namespace quire {
namespace {

// Of a step in which each of some sequences has one token, or the first of them `first_tokens`.
int RowsFor(int num_sequences, int max_rows = 1000, int first_tokens = 1) {
  const std::vector<int32_t> tokens(num_sequences + first_tokens - 1), sequences(num_sequences);
  PagedBatchView batch;
  batch.positions = tokens;
  batch.context_lens = sequences;
  return RowsOfGraph(batch, max_rows);
}

TEST(StepGraphs, RoundsRowsUpByAQuarterAtMostBeyondEight) {
  EXPECT_EQ(RowsFor(1), 1);
  EXPECT_EQ(RowsFor(3), 4);
  EXPECT_EQ(RowsFor(5), 8);
  int last = 8;
  for (int rows = 9; rows <= kMostGraphRows; ++rows) {
    const int rounded = RowsFor(rows);
    EXPECT_GE(rounded, rows);
    EXPECT_LT(rounded, 2 * rows);
    EXPECT_TRUE(rounded == last || rows == last + 1) << rows;
    EXPECT_LE(rounded, last + (last + 3) / 4 + 7) << rows;
    EXPECT_EQ(rounded % 8, 0);
    last = rounded;
  }
}

TEST(StepGraphs, TakesNoMoreRowsThanThereAre) {
  EXPECT_EQ(RowsFor(17, 20), 20);
  EXPECT_EQ(RowsFor(20, 20), 20);
}

TEST(StepGraphs, LeavesPromptsAndLargeStepsAlone) {
  EXPECT_EQ(RowsFor(4, 1000, 2), 0);
  EXPECT_EQ(RowsFor(1, 1000, 100), 0);
  EXPECT_EQ(RowsFor(kMostGraphRows), kMostGraphRows);
  EXPECT_EQ(RowsFor(kMostGraphRows + 1), 0);
  EXPECT_EQ(RowsFor(0), 0);
}

TEST(StepGraphs, HasRoomForAPlanAndForMoreOfItsKind) {
  const CudaAttentionRoom plain = RoomOfGraph({.tokens = 5, .small_items = 5}, 8);
  EXPECT_EQ(plain, (CudaAttentionRoom{.tokens = 8, .small_items = 8}));
  const CudaAttentionRoom cut = RoomOfGraph({.tokens = 5, .small_items = 33, .large_items = 3, .cut_tokens = 2}, 8);
  EXPECT_EQ(cut, (CudaAttentionRoom{.tokens = 8, .small_items = 64, .large_items = 4, .cut_tokens = 8}));
}

TEST(StepGraphs, ForgetsWhatHasNotBeenUsedForTheLongestTime) {
  StepGraphs graphs;
  const auto rooms_of = [](size_t i) { return std::vector<CudaAttentionRoom>{{.small_items = static_cast<int>(i)}}; };
  for (size_t i = 0; i < StepGraphs::kMostGraphs; ++i) graphs.Add(8, rooms_of(i));
  ASSERT_NE(graphs.Find(8, rooms_of(0)), nullptr);
  EXPECT_EQ(graphs.Find(16, rooms_of(0)), nullptr);
  graphs.Add(16, rooms_of(0));
  EXPECT_EQ(graphs.size(), StepGraphs::kMostGraphs);
  EXPECT_NE(graphs.Find(8, rooms_of(0)), nullptr);
  EXPECT_EQ(graphs.Find(8, rooms_of(1)), nullptr);
  EXPECT_NE(graphs.Find(8, rooms_of(2)), nullptr);
  EXPECT_NE(graphs.Find(16, rooms_of(0)), nullptr);
}

}  // namespace
}  // namespace quire
