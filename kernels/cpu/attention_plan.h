// Who attends to what, in which pieces: the part of paged attention that is the same for every layer of a step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/paged_kv.h"

namespace quire {

struct TokenRange {
  int begin;
  int end;
  bool empty() const { return begin >= end; }
};

// Query tokens [begin_token, end_token) of a sequence, with all query heads of a KV head's group, and the chunks of its
// context that some of them see.
struct AttentionTile {
  int sequence;
  int begin_token;
  int end_token;
  int begin_chunk;
  int end_chunk;
  int64_t first_partial;  // The states of its chunks' rows, where several pieces of work compute them; otherwise -1.
};

// What a worker takes at a time: some chunks of one tile for one KV head, or one chunk of several tiles whose sequences
// all have it on the same pages.
struct AttentionWork {
  int begin_tile;
  int end_tile;
  int kv_head;
  int begin_chunk;
  int end_chunk;
};

class AttentionPlan {
 public:
  struct Shape {
    int num_kv_heads = 0;
    int group = 0;  // Query heads of one KV head.
    int page_size = 0;
    int sliding_window = 0;  // 0: none.
    int num_workers = 0;
    bool operator==(const Shape&) const = default;
  };

  // Plans a step. Nothing to do where it is the step planned last: all but the first of a model's layers. Allocates
  // nothing for a step no larger than one before it.
  void Update(const PagedBatchView& batch, const Shape& shape);

  // Every chunk of every tile is in one piece of work for each KV head.
  std::span<const AttentionTile> tiles() const { return tiles_; }
  std::span<const AttentionWork> work() const { return work_; }
  // Those with partial states, to be merged afterwards.
  std::span<const int> cut_tiles() const { return cut_tiles_; }
  int64_t num_partials() const { return num_partials_; }
  int max_rows() const { return max_rows_; }  // Of any piece of work.

  // Rows of a tile go by token, then by head in the group.
  int NumRows(const AttentionTile& tile) const { return (tile.end_token - tile.begin_token) * shape_.group; }
  int Token(const AttentionTile& tile, int row) const { return tile.begin_token + row / shape_.group; }
  int Head(int kv_head, int row) const { return kv_head * shape_.group + row % shape_.group; }
  // The first of a chunk's partial states.
  int64_t Partial(const AttentionTile& tile, int kv_head, int chunk) const {
    const int64_t num_chunks = tile.end_chunk - tile.begin_chunk;
    return tile.first_partial + (kv_head * num_chunks + chunk - tile.begin_chunk) * NumRows(tile);
  }

  // The positions that a query token sees.
  TokenRange Visible(int token) const {
    const int end = positions_[token] + 1;
    return {shape_.sliding_window > 0 ? std::max(0, end - shape_.sliding_window) : 0, end};
  }
  // The same within one chunk, from its first token.
  TokenRange VisibleInChunk(int token, int chunk) const {
    const TokenRange visible = Visible(token);
    const int origin = chunk * kAttentionChunkTokens;
    return {std::max(visible.begin - origin, 0), std::min(visible.end - origin, kAttentionChunkTokens)};
  }

 private:
  bool IsPlanned(const PagedBatchView& batch, const Shape& shape) const;
  void OrderSequences();
  void MakeTiles();
  void FindSharedChunks();
  void CutTiles();
  void ListWork();
  void ListSharedWork(int kv_head);
  void AddSharedWork(int kv_head, int chunk, int begin_tile, int end_tile);
  std::span<const int32_t> PagesOf(int sequence) const;
  bool HasManyTiles(int sequence) const;
  int NumSharedChunks(const AttentionTile& a, const AttentionTile& b) const;
  int64_t Cost(const AttentionTile& tile, int begin_chunk, int end_chunk) const;

  // The batch, but for what no plan depends on.
  Shape shape_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> query_start_;
  std::vector<int32_t> context_lens_;
  std::vector<int32_t> block_indptr_;
  std::vector<int32_t> block_indices_;

  std::vector<int> order_;  // Sequences, those with common pages side by side.
  std::vector<AttentionTile> tiles_;
  std::vector<int> shared_with_next_;  // Leading chunks that tiles i and i + 1 have on the same pages.
  std::vector<int> end_shared_;        // Of tile i: chunks before it are in pieces of several tiles.
  std::vector<int> cut_tiles_;
  std::vector<AttentionWork> work_;
  int64_t max_cost_ = 0;  // Of a piece of work that can be cut.
  int64_t num_partials_ = 0;
  int max_rows_ = 0;
};

}  // namespace quire
