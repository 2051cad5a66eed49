#include "kernels/cpu/attention_plan.h"

#include <numeric>

#include "kernels/check.h"

namespace quire {
namespace {

// Rows of a tile: enough that a chunk's K and V, which outgrow the first cache level, are used many times once loaded.
constexpr int kTileRows = 64;
// Work that is more than one part in this many of a worker's fair share is cut where it can be.
constexpr int kPartsPerWorker = 8;

int DivideUp(int a, int b) { return (a + b - 1) / b; }

void Assign(std::span<const int32_t> from, std::vector<int32_t>& to) { to.assign(from.begin(), from.end()); }

}  // namespace

void AttentionPlan::Update(const PagedBatchView& batch, const Shape& shape) {
  if (IsPlanned(batch, shape)) return;
  shape_ = shape;
  Assign(batch.positions, positions_);
  Assign(batch.query_start, query_start_);
  Assign(batch.context_lens, context_lens_);
  Assign(batch.block_indptr, block_indptr_);
  Assign(batch.block_indices, block_indices_);
  OrderSequences();
  MakeTiles();
  FindSharedChunks();
  CutTiles();
  ListWork();
}

// By content: the arrays of the next step may well lie where this one's did.
bool AttentionPlan::IsPlanned(const PagedBatchView& batch, const Shape& shape) const {
  return shape == shape_ && std::ranges::equal(batch.positions, positions_) &&
         std::ranges::equal(batch.query_start, query_start_) && std::ranges::equal(batch.context_lens, context_lens_) &&
         std::ranges::equal(batch.block_indptr, block_indptr_) &&
         std::ranges::equal(batch.block_indices, block_indices_);
}

std::span<const int32_t> AttentionPlan::PagesOf(int sequence) const {
  const int begin = block_indptr_[sequence];
  return std::span(block_indices_).subspan(begin, block_indptr_[sequence + 1] - begin);
}

bool AttentionPlan::HasManyTiles(int sequence) const {
  return (query_start_[sequence + 1] - query_start_[sequence]) * shape_.group > kTileRows;
}

// In the order of their page lists, sequences with a common beginning are neighbours. Those with many tiles come last:
// their tiles fill a pass over a chunk on their own.
void AttentionPlan::OrderSequences() {
  order_.resize(context_lens_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [this](int a, int b) {
    if (HasManyTiles(a) != HasManyTiles(b)) return HasManyTiles(b);
    return std::ranges::lexicographical_compare(PagesOf(a), PagesOf(b));
  });
}

void AttentionPlan::MakeTiles() {
  const int tile_tokens = std::max(1, kTileRows / shape_.group);
  tiles_.clear();
  for (int s : order_) {
    const int begin = query_start_[s];
    const int end = query_start_[s + 1];
    if (begin == end) continue;
    QUIRE_CHECK(begin < end && positions_[end - 1] == context_lens_[s] - 1);
    QUIRE_CHECK(positions_[begin] >= 0 && positions_[begin] == context_lens_[s] - (end - begin));
    QUIRE_CHECK(static_cast<int>(PagesOf(s).size()) >= DivideUp(context_lens_[s], shape_.page_size));
    for (int t = begin; t < end; t += tile_tokens) {
      const int tile_end = std::min(end, t + tile_tokens);
      const int begin_chunk = Visible(t).begin / kAttentionChunkTokens;
      const int end_chunk = DivideUp(Visible(tile_end - 1).end, kAttentionChunkTokens);
      tiles_.push_back({s, t, tile_end, begin_chunk, end_chunk, -1});
    }
  }
}

int AttentionPlan::NumSharedChunks(const AttentionTile& a, const AttentionTile& b) const {
  if (HasManyTiles(a.sequence) || HasManyTiles(b.sequence)) return 0;
  const std::span<const int32_t> pages = PagesOf(a.sequence);
  const auto [end, other_end] = std::ranges::mismatch(pages, PagesOf(b.sequence));
  return static_cast<int>((end - pages.begin()) * shape_.page_size / kAttentionChunkTokens);
}

void AttentionPlan::FindSharedChunks() {
  const int num_tiles = static_cast<int>(tiles_.size());
  shared_with_next_.assign(num_tiles, 0);
  end_shared_.resize(num_tiles);
  for (int i = 0; i < num_tiles; ++i) {
    if (i + 1 < num_tiles) shared_with_next_[i] = NumSharedChunks(tiles_[i], tiles_[i + 1]);
    const int shared = std::max(shared_with_next_[i], i > 0 ? shared_with_next_[i - 1] : 0);
    end_shared_[i] = std::clamp(shared, tiles_[i].begin_chunk, tiles_[i].end_chunk);
  }
}

int64_t AttentionPlan::Cost(const AttentionTile& tile, int begin_chunk, int end_chunk) const {
  const int begin = std::max(Visible(tile.begin_token).begin, begin_chunk * kAttentionChunkTokens);
  const int end = std::min(Visible(tile.end_token - 1).end, end_chunk * kAttentionChunkTokens);
  return int64_t{DivideUp(NumRows(tile), kAttentionMaxRows)} * (end - begin);
}

// Decides which tiles have partial states: those that share chunks with others, and those that are a large part of the
// whole step.
void AttentionPlan::CutTiles() {
  int64_t total = 0;
  for (const AttentionTile& tile : tiles_) {
    total += Cost(tile, tile.begin_chunk, tile.end_chunk) * shape_.num_kv_heads;
  }
  max_cost_ = shape_.num_workers == 1 ? total : total / (shape_.num_workers * kPartsPerWorker);
  cut_tiles_.clear();
  num_partials_ = 0;
  for (size_t i = 0; i < tiles_.size(); ++i) {
    AttentionTile& tile = tiles_[i];
    const int num_chunks = tile.end_chunk - tile.begin_chunk;
    const bool large = num_chunks > 1 && Cost(tile, tile.begin_chunk, tile.end_chunk) > max_cost_;
    if (!large && end_shared_[i] == tile.begin_chunk) continue;
    tile.first_partial = num_partials_;
    num_partials_ += int64_t{shape_.num_kv_heads} * num_chunks * NumRows(tile);
    cut_tiles_.push_back(static_cast<int>(i));
  }
}

// Heads outermost: tiles of a long prompt then find their head's K and V in the worker's cache.
void AttentionPlan::ListWork() {
  work_.clear();
  max_rows_ = 0;
  for (const AttentionTile& tile : tiles_) max_rows_ = std::max(max_rows_, NumRows(tile));
  for (int head = 0; head < shape_.num_kv_heads; ++head) {
    ListSharedWork(head);
    for (int i = 0; i < static_cast<int>(tiles_.size()); ++i) {
      const AttentionTile& tile = tiles_[i];
      const bool whole = tile.first_partial < 0 || Cost(tile, end_shared_[i], tile.end_chunk) <= max_cost_;
      const int chunks_apiece = whole ? tile.end_chunk - end_shared_[i] : 1;
      for (int chunk = end_shared_[i]; chunk < tile.end_chunk; chunk += chunks_apiece) {
        work_.push_back({i, i + 1, head, chunk, chunk + chunks_apiece});
      }
    }
  }
}

// A chunk's runs of tiles with the same pages.
void AttentionPlan::ListSharedWork(int kv_head) {
  const int num_tiles = static_cast<int>(tiles_.size());
  const auto end_shared = std::ranges::max_element(shared_with_next_);
  if (end_shared == shared_with_next_.end()) return;
  for (int chunk = 0; chunk < *end_shared; ++chunk) {
    for (int begin = 0, end; begin < num_tiles; begin = end) {
      end = begin + 1;
      while (end < num_tiles && shared_with_next_[end - 1] > chunk) ++end;
      if (end - begin > 1) AddSharedWork(kv_head, chunk, begin, end);
    }
  }
}

// In one piece, so that memory is read once for all, unless that were too much work for one worker.
void AttentionPlan::AddSharedWork(int kv_head, int chunk, int begin_tile, int end_tile) {
  int begin = begin_tile;
  int rows = 0;
  int64_t cost = 0;  // Stays 0 where no row's window reaches the chunk.
  const auto add_up_to = [&](int end) {
    if (cost > 0) work_.push_back({begin, end, kv_head, chunk, chunk + 1});
    max_rows_ = std::max(max_rows_, rows);
    begin = end;
    rows = 0;
    cost = 0;
  };
  for (int i = begin_tile; i < end_tile; ++i) {
    rows += NumRows(tiles_[i]);
    if (chunk >= tiles_[i].begin_chunk && chunk < tiles_[i].end_chunk) cost += Cost(tiles_[i], chunk, chunk + 1);
    if (rows >= kTileRows && cost > max_cost_) add_up_to(i + 1);
  }
  add_up_to(end_tile);
}

}  // namespace quire
