#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int kNoEnd = std::numeric_limits<int>::max() / kCudaSplitTokens;  // Of splits.

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void CudaAttentionPlan::Update(const PagedBatchView& batch, const Shape& shape) {
  QUIRE_CHECK(shape.group >= 1 && shape.group <= kCudaWarpRows);
  QUIRE_CHECK(shape.num_kv_heads >= 1 && shape.num_workers >= 1 && shape.page_size >= 1);
  QUIRE_CHECK(shape.max_tile_rows >= kCudaWarpRows);
  shape_ = shape;
  batch_ = batch;
  OrderSequences();
  ListTokens();
  tiles_.clear();
  if (num_small_ > 0) AddRun(0, num_small_, 0);
  for (int i = num_small_; i < static_cast<int>(order_.size()); ++i) AddTiles(i, i + 1, 0, kNoEnd, false);
  CutTiles();
  NumberPartials();
  ListItems();
  batch_ = {};
}

std::span<const int32_t> CudaAttentionPlan::PagesOf(int sequence) const {
  const int begin = batch_.block_indptr[sequence];
  return batch_.block_indices.subspan(begin, batch_.block_indptr[sequence + 1] - begin);
}

std::pair<int, int> CudaAttentionPlan::Visible(int token) const {
  const int end = batch_.positions[token] + 1;
  return {shape_.sliding_window > 0 ? std::max(0, end - shape_.sliding_window) : 0, end};
}

// In the order of their page lists, sequences with a common beginning are neighbours. Those of more than one tile do
// not take part: their own rows are enough for each load of K and V.
void CudaAttentionPlan::OrderSequences() {
  order_.clear();
  for (int s = 0; s < batch_.num_sequences(); ++s) {
    const int num_queries = NumQueries(s);
    QUIRE_CHECK(num_queries >= 0);
    if (num_queries == 0) continue;
    const int last = batch_.query_start[s + 1] - 1;
    QUIRE_CHECK(batch_.positions[last] == batch_.context_lens[s] - 1);
    QUIRE_CHECK(batch_.positions[batch_.query_start[s]] == batch_.context_lens[s] - num_queries);
    QUIRE_CHECK(static_cast<int64_t>(PagesOf(s).size()) >= DivideUp(batch_.context_lens[s], shape_.page_size));
    for (const int32_t page : PagesOf(s)) QUIRE_CHECK(page >= 0 && page < shape_.num_pages);
    order_.push_back(s);
  }
  const auto is_small = [this](int sequence) { return NumQueries(sequence) <= TileTokens(); };
  std::sort(order_.begin(), order_.end(), [&](int a, int b) {
    if (is_small(a) != is_small(b)) return is_small(a);
    const std::span<const int32_t> pages = PagesOf(a), other = PagesOf(b);
    if (!std::ranges::equal(pages, other)) return std::ranges::lexicographical_compare(pages, other);
    return a < b;
  });
  num_small_ = static_cast<int>(std::ranges::count_if(order_, is_small));
  shared_with_next_.assign(order_.size(), 0);
  for (int i = 0; shape_.share_pages && i + 1 < num_small_; ++i) {
    shared_with_next_[i] = NumSharedSplits(order_[i], order_[i + 1]);
  }
}

int CudaAttentionPlan::NumSharedSplits(int sequence, int other) const {
  const std::span<const int32_t> pages = PagesOf(sequence);
  const auto [end, other_end] = std::ranges::mismatch(pages, PagesOf(other));
  return static_cast<int>((end - pages.begin()) * shape_.page_size / kCudaSplitTokens);
}

void CudaAttentionPlan::ListTokens() {
  tokens_.clear();
  first_of_.clear();
  for (const int s : order_) {
    first_of_.push_back(static_cast<int32_t>(tokens_.size()));
    for (int t = batch_.query_start[s]; t < batch_.query_start[s + 1]; ++t) tokens_.push_back(t);
  }
  first_of_.push_back(static_cast<int32_t>(tokens_.size()));
}

// Sequences [begin, end) of the order have the splits before `begin_split` on the same pages, and are in other tiles
// there. What all of them share beyond that is tiles of all of them; the rest goes to the runs that share more.
void CudaAttentionPlan::AddRun(int begin, int end, int begin_split) {
  if (end - begin == 1) return AddTiles(begin, end, begin_split, kNoEnd, false);
  const auto shared = std::span(shared_with_next_).subspan(begin, end - begin - 1);
  const int end_split = std::ranges::min(shared);
  if (end_split > begin_split) AddTiles(begin, end, begin_split, end_split, true);
  for (int i = begin, next; i < end; i = next) {
    next = i + 1;
    while (next < end && shared_with_next_[next - 1] > end_split) ++next;
    AddRun(i, next, std::max(begin_split, end_split));
  }
}

void CudaAttentionPlan::AddTiles(int begin, int end, int begin_split, int end_split, bool is_shared) {
  const int32_t first_page = batch_.block_indptr[order_[begin]];
  for (int32_t first = first_of_[begin]; first < first_of_[end]; first += TileTokens()) {
    const int32_t count = std::min(first_of_[end] - first, TileTokens());
    int begin_position = std::numeric_limits<int>::max(), end_position = 0;
    for (const int32_t token : std::span(tokens_).subspan(first, count)) {
      const auto [visible_begin, visible_end] = Visible(token);
      begin_position = std::min(begin_position, visible_begin);
      end_position = std::max(end_position, visible_end);
    }
    begin_position = std::max(begin_position, begin_split * kCudaSplitTokens);
    end_position = std::min(end_position, end_split * kCudaSplitTokens);
    if (begin_position >= end_position) continue;
    tiles_.push_back({{first, count, begin_position, end_position, first_page, 0}, is_shared});
  }
}

// Tiles that are more than a worker's fair share go into pieces of whole splits; those that make small items, which
// wait for memory more than anything, into single splits, so that many are under way at once.
void CudaAttentionPlan::CutTiles() {
  int64_t total = 0;
  for (const Tile& tile : tiles_) total += int64_t{shape_.num_kv_heads} * (tile.item.end - tile.item.begin);
  const int64_t fair_share = DivideUp(total, shape_.num_workers);
  const auto splits_of_large = static_cast<int>(std::max<int64_t>(1, fair_share / kCudaSplitTokens));
  first_partials_.assign(batch_.num_tokens(), -1);
  splits_apiece_.clear();
  for (const Tile& tile : tiles_) {
    const auto& [first, count, begin, end, first_page, is_cut] = tile.item;
    const int num_splits = static_cast<int>(DivideUp(end, kCudaSplitTokens)) - begin / kCudaSplitTokens;
    const bool is_large_share = end - begin > fair_share;
    const int splits_apiece = IsSmall(tile.item) ? 1 : is_large_share ? splits_of_large : num_splits;
    splits_apiece_.push_back(splits_apiece);
    if (num_splits <= splits_apiece && !tile.is_shared) continue;
    for (const int32_t token : std::span(tokens_).subspan(first, count)) first_partials_[token] = 0;
  }
}

void CudaAttentionPlan::NumberPartials() {
  num_partials_ = 0;
  cut_tokens_.clear();
  for (const int32_t token : tokens_) {
    if (first_partials_[token] < 0) continue;
    QUIRE_CHECK(num_partials_ <= std::numeric_limits<int32_t>::max());
    first_partials_[token] = static_cast<int32_t>(num_partials_);
    const auto [begin, end] = Visible(token);
    num_partials_ += DivideUp(end, kCudaSplitTokens) - begin / kCudaSplitTokens;
    cut_tokens_.push_back(token);
  }
}

// The longest items first, so that the last ones to be begun are short.
void CudaAttentionPlan::ListItems() {
  small_items_.clear();
  large_items_.clear();
  for (size_t i = 0; i < tiles_.size(); ++i) {
    CudaAttentionItem item = tiles_[i].item;
    const int end = item.end;
    item.is_cut = first_partials_[tokens_[item.first_token]] >= 0 ? 1 : 0;
    while (item.begin < end) {
      const int end_split = item.begin / kCudaSplitTokens + splits_apiece_[i];
      item.end = std::min(end, end_split * kCudaSplitTokens);
      (IsSmall(item) ? small_items_ : large_items_).push_back(item);
      item.begin = item.end;
    }
  }
  const auto length = [](const CudaAttentionItem& item) { return item.begin - item.end; };
  std::ranges::stable_sort(small_items_, {}, length);
  std::ranges::stable_sort(large_items_, {}, length);
}

CudaAttentionRoom CudaAttentionPlan::NeededRoom() const {
  return {.tokens = static_cast<int>(tokens_.size()),
          .small_items = static_cast<int>(small_items_.size()),
          .large_items = static_cast<int>(large_items_.size()),
          .cut_tokens = static_cast<int>(cut_tokens_.size())};
}

void CudaAttentionPlan::Write(const CudaAttentionRoom& room, std::span<int32_t> words) const {
  QUIRE_CHECK(static_cast<int64_t>(words.size()) == room.num_words());
  std::byte* next = std::as_writable_bytes(words).data();
  // What the plan does not need of the room is filled with this byte.
  const auto append = [&next]<typename T>(const std::vector<T>& elements, int count, int fill) {
    const size_t used = elements.size() * sizeof(T), size = count * sizeof(T);
    QUIRE_CHECK(used <= size);
    if (used > 0) std::memcpy(next, elements.data(), used);
    std::memset(next + used, fill, size - used);
    next += size;
  };
  append(small_items_, room.small_items, 0x00);
  append(large_items_, room.large_items, 0x00);
  append(tokens_, room.tokens, 0x00);
  append(first_partials_, room.tokens, 0xff);
  append(cut_tokens_, room.cut_tokens, 0xff);
}

CudaAttentionPlanView CudaAttentionPlan::ViewAt(const int32_t* device_words, const CudaAttentionRoom& room) {
  CudaAttentionPlanView view;
  view.room = room;
  view.small_items = reinterpret_cast<const CudaAttentionItem*>(device_words);
  view.large_items = view.small_items + room.small_items;
  view.tokens = reinterpret_cast<const int32_t*>(view.large_items + room.large_items);
  view.first_partials = view.tokens + room.tokens;
  view.cut_tokens = view.first_partials + room.tokens;
  return view;
}

}  // namespace quire
