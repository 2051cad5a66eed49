#include "kernels/cuda/step_graphs.h"

#include <algorithm>
#include <bit>

namespace quire {
namespace {

// 1, 2, 4, 8, and on in steps of an eighth to a quarter: little is computed in vain, and few graphs are made.
int Bucket(int num_rows) {
  if (num_rows <= 8) return static_cast<int>(std::bit_ceil(static_cast<unsigned>(num_rows)));
  const int step = num_rows <= 64 ? 8 : num_rows <= 256 ? 16 : 32;
  return (num_rows + step - 1) / step * step;
}

int RoundUp(int count) { return count == 0 ? 0 : static_cast<int>(std::bit_ceil(static_cast<unsigned>(count))); }

}  // namespace

int RowsOfGraph(const PagedBatchView& batch, int max_rows) {
  const int num_tokens = batch.num_tokens();
  if (num_tokens == 0 || num_tokens > kMostGraphRows || num_tokens != batch.num_sequences()) return 0;
  return std::min(Bucket(num_tokens), max_rows);
}

CudaAttentionRoom RoomOfGraph(const CudaAttentionRoom& needed, int num_rows) {
  // Where nothing is cut or shared there is one small item for each token.
  const bool is_plain = needed.small_items > 0 && needed.small_items <= num_rows;
  return {.tokens = num_rows,
          .small_items = is_plain ? num_rows : RoundUp(needed.small_items),
          .large_items = RoundUp(needed.large_items),
          .cut_tokens = needed.cut_tokens > 0 ? num_rows : 0};
}

StepGraphs::Entry* StepGraphs::Find(int num_rows, std::span<const CudaAttentionRoom> rooms) {
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return entry.num_rows == num_rows && std::ranges::equal(entry.rooms, rooms);
  });
  if (found == entries_.end()) return nullptr;
  found->last_use = ++clock_;
  return &*found;
}

void StepGraphs::Add(int num_rows, std::span<const CudaAttentionRoom> rooms) {
  if (entries_.size() == kMostGraphs) entries_.erase(std::ranges::min_element(entries_, {}, &Entry::last_use));
  Entry& entry = entries_.emplace_back();
  entry.num_rows = num_rows;
  entry.rooms.assign(rooms.begin(), rooms.end());
  entry.last_use = ++clock_;
}

}  // namespace quire
