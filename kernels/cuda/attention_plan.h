// Who attends to what on the device, in which pieces: made on the host once a step, the same for all layers that have
// the same sliding window. Plain C++. On one thread at a time.
//
// Whatever the plan, a row (a query token and head) gets the same bits: softmax goes over chunks of kCudaChunkTokens
// positions, which change the state of their split of kCudaSplitTokens positions in ascending order; the splits' states
// are added up in ascending order, too (kernels/cuda/attention.h). Both lie at multiples of their length, and work is
// cut only between splits.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/paged_kv.h"

namespace quire {

inline constexpr int kCudaChunkTokens = 64;
inline constexpr int kCudaSplitTokens = 512;
inline constexpr int kCudaWarpRows = 16;  // Query rows that a warp keeps at hand.

// What a block of threads does for each KV head: some query tokens, each with the heads of the KV head's group, pass
// over the positions [begin, end) of a context, which lies on the same pages for all of them.
struct CudaAttentionItem {
  int32_t first_token;  // In the plan's list of tokens.
  int32_t num_tokens;
  int32_t begin;  // Some row sees this position and the one before `end`; each row those that it may see.
  int32_t end;
  int32_t first_page;  // Index of the context's first page in PagedBatchView::block_indices.
  int32_t is_cut;      // 1: other items have other splits of these rows; each leaves its splits' states to be merged.
};

// How much a launch is for: as much as a plan needs, or more, so that it serves the plans of many steps.
struct CudaAttentionRoom {
  int tokens = 0;
  int small_items = 0;
  int large_items = 0;
  int cut_tokens = 0;

  bool operator==(const CudaAttentionRoom&) const = default;
  // What a plan takes up in it, in words of 32 bits.
  int64_t num_words() const {
    constexpr int64_t kItemWords = sizeof(CudaAttentionItem) / sizeof(int32_t);
    return kItemWords * (int64_t{small_items} + large_items) + 2 * int64_t{tokens} + cut_tokens;
  }
};

// A plan as kernels see it: pointers to device memory.
struct CudaAttentionPlanView {
  const CudaAttentionItem* small_items = nullptr;  // Up to kCudaWarpRows rows, one split; behind the last, no tokens.
  const CudaAttentionItem* large_items = nullptr;  // More rows; likewise.
  const int32_t* tokens = nullptr;                 // What items' tokens are counted in: tokens of the step.
  const int32_t* first_partials = nullptr;         // Where the states of a cut token's splits begin, in tokens; else -1
  const int32_t* cut_tokens = nullptr;             // Those whose states are to be merged; behind the last, -1.
  CudaAttentionRoom room;
};

class CudaAttentionPlan {
 public:
  struct Shape {
    int num_kv_heads = 0;
    int group = 0;  // Query heads of one KV head: at most kCudaWarpRows.
    int page_size = 0;
    int num_pages = 0;        // Of the cache.
    int sliding_window = 0;   // 0: none.
    int max_tile_rows = 64;   // CudaAttentionTileRows of the heads.
    int num_workers = 0;      // Blocks that the device runs at a time, about.
    bool share_pages = true;  // Whether sequences pass together over splits that they have on the same pages.

    bool operator==(const Shape&) const = default;
  };

  // Replaces the plan. Allocates nothing for a step no larger than one before it.
  void Update(const PagedBatchView& batch, const Shape& shape);

  // Every position that a token sees is in one item of that token. Small items have one split.
  std::span<const CudaAttentionItem> small_items() const { return small_items_; }
  std::span<const CudaAttentionItem> large_items() const { return large_items_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const int32_t> first_partials() const { return first_partials_; }
  std::span<const int32_t> cut_tokens() const { return cut_tokens_; }
  // Splits of cut tokens: each has a state for every query head.
  int64_t num_partials() const { return num_partials_; }

  // What it takes to hold the plan, and no more.
  CudaAttentionRoom NeededRoom() const;
  // Writes the plan as it is to be copied to the device. REQUIRES: the room holds it; words.size() is its num_words().
  void Write(const CudaAttentionRoom& room, std::span<int32_t> words) const;
  // Of what Write has written, at its place on the device.
  static CudaAttentionPlanView ViewAt(const int32_t* device_words, const CudaAttentionRoom& room);

 private:
  // What items are cut from.
  struct Tile {
    CudaAttentionItem item;
    bool is_shared;
  };

  // The positions that a query token sees: [first, second).
  std::pair<int, int> Visible(int token) const;
  bool IsSmall(const CudaAttentionItem& item) const { return item.num_tokens * shape_.group <= kCudaWarpRows; }
  int TileTokens() const { return shape_.max_tile_rows / shape_.group; }
  int NumQueries(int sequence) const { return batch_.query_start[sequence + 1] - batch_.query_start[sequence]; }
  std::span<const int32_t> PagesOf(int sequence) const;
  int NumSharedSplits(int sequence, int other) const;
  void OrderSequences();
  void ListTokens();
  void AddRun(int begin, int end, int begin_split);
  void AddTiles(int begin, int end, int begin_split, int end_split, bool is_shared);
  void CutTiles();
  void NumberPartials();
  void ListItems();

  Shape shape_;
  PagedBatchView batch_;  // During Update.

  std::vector<int> order_;             // Sequences: those of one tile, by their pages; then the others.
  int num_small_ = 0;                  // How many are of one tile.
  std::vector<int> shared_with_next_;  // Leading splits that sequences i and i + 1 of the order have in common.
  std::vector<int32_t> first_of_;      // Where the tokens of sequence i of the order begin in tokens_; and the end.
  std::vector<Tile> tiles_;
  std::vector<int> splits_apiece_;  // By tile.
  std::vector<CudaAttentionItem> small_items_;
  std::vector<CudaAttentionItem> large_items_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> first_partials_;
  std::vector<int32_t> cut_tokens_;
  int64_t num_partials_ = 0;
};

}  // namespace quire
