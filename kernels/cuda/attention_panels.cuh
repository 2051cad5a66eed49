// How a block brings K and V of a split into shared memory, as they lie in the cache, several chunks' ahead.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout.h"

namespace quire {

// Used in turn. Each has the keys or values of a chunk's tokens, with elements of up to kElementBytes; dimensions
// beyond the head's are zeros.
template <int kHeadDim, int kElementBytes>
struct SplitPanels {
  static constexpr int kRowBytes = SharedRowBytes(kHeadDim * kElementBytes);
  static constexpr int kPanelBytes = kCudaChunkTokens * kRowBytes;
  // With heads of 128 dimensions a multiprocessor of an H100 has 3 (bfloat16) or 4 blocks at a time.
  static constexpr int kPanels = kPanelBytes < 12 * 1024 ? 4 : kPanelBytes < 24 * 1024 ? 3 : 2;

  alignas(16) std::byte rows[kPanels][kCudaChunkTokens][kRowBytes];
  alignas(16) float scales[kPanels][kCudaChunkTokens];  // Of values in bfloat16: see CleanValues.
};

// All threads of a block call everything together.
template <int kHeadDim, int kElementBytes, int kThreads>
class SplitPanelLoader {
 public:
  using Panels = SplitPanels<kHeadDim, kElementBytes>;

  // The item has one split.
  __device__ SplitPanelLoader(const CudaAttentionArgs& args, const CudaAttentionItem& item, int kv_head, Panels& panels)
      : layer_(args.layer),
        item_(item),
        panels_(panels),
        next_position_(item.begin / kCudaChunkTokens * kCudaChunkTokens) {
    FindRuns(args.block_indices + item.first_page, kv_head);
  }

  // Begins with as many panels as may be under way.
  __device__ __forceinline__ void Begin() {
#pragma unroll
    for (int i = 0; i < kPanels - 1; ++i) BeginNext();
  }

  // Waits for the oldest panel, which then is the current one, and begins another in place of the one before it. Also
  // makes visible what the threads wrote to shared memory.
  template <bool kCleansValues>
  __device__ __forceinline__ void Next() {
    WaitCopies<kPanels - 2>();
    current_ = current_ + 1 == kPanels ? 0 : current_ + 1;
    if (kCleansValues && kElementBytes == 2 && layer_.values.dtype == KvDType::kBF16) CleanValues();
    SyncBlock();
    BeginNext();
  }

  // Of the current panel.
  __device__ __forceinline__ const std::byte* row(int token) const { return panels_.rows[current_][token]; }
  __device__ __forceinline__ const float* scales() const { return panels_.scales[current_]; }

 private:
  static constexpr int kPanels = Panels::kPanels;
  static constexpr int kRunTokens = 16;  // Tokens that are sure to lie side by side on one page.
  static_assert(kCudaSplitTokens == kRunTokens * kWarpSize);

  // Lane i has where the split's i'th run lies in a plane, in tokens of one head.
  __device__ __forceinline__ void FindRuns(const int32_t* pages, int kv_head) {
    const int lane = threadIdx.x % kWarpSize;
    const int position = item_.begin / kCudaSplitTokens * kCudaSplitTokens + lane * kRunTokens;
    const bool is_inside = position < item_.end && position + kRunTokens > item_.begin;
    const int slot = position / layer_.page_size;
    const unsigned page = is_inside ? pages[slot] : 0;
    run_ = (page * layer_.num_kv_heads + kv_head) * layer_.page_size + (position - slot * layer_.page_size);
  }

  // Begins to copy the next panel: a chunk's keys, then its values. Tokens outside the item become zeros.
  __device__ __forceinline__ void BeginNext() {
    if (next_position_ < item_.end) {
      const CudaKvPlane& plane = next_is_values_ ? layer_.values : layer_.keys;
      if (kElementBytes == 2 && plane.dtype == KvDType::kBF16) {
        CopyPanel<2>(plane);
      } else {
        CopyPanel<1>(plane);
        CopyScales(plane);
      }
      if (next_is_values_) next_position_ += kCudaChunkTokens;
      next_is_values_ = !next_is_values_;
      next_panel_ = next_panel_ + 1 == kPanels ? 0 : next_panel_ + 1;
    }
    CommitCopies();
  }

  template <int kBytes>
  __device__ __forceinline__ void CopyPanel(const CudaKvPlane& plane) const {
    const unsigned head_bytes = layer_.head_dim * kBytes;
    const auto length = static_cast<unsigned>(item_.end - item_.begin);
#pragma unroll
    for (int run = 0; run < kCudaChunkTokens / kRunTokens; ++run) {
      const unsigned from_begin = next_position_ + run * kRunTokens - item_.begin;
      const std::byte* from = plane.elements + uint64_t{RunAt(run)} * head_bytes;
      ForPieces<kBytes>([&](unsigned row, unsigned offset) {
        const bool is_valid = from_begin + row < length && offset < head_bytes;
        CopyAsync16(panels_.rows[next_panel_][run * kRunTokens + row] + offset, from + row * head_bytes + offset,
                    is_valid);
      });
    }
  }

  __device__ __forceinline__ void CopyScales(const CudaKvPlane& plane) const {
    constexpr int kRunPieces = kRunTokens / 4;
    const int piece = threadIdx.x % (kCudaChunkTokens / 4);
    const float* from = plane.scales + RunAt(piece / kRunPieces) + piece % kRunPieces * 4;
    const int position = next_position_ + piece * 4;
    const bool is_valid = position < item_.end && position + 4 > item_.begin;
    if (threadIdx.x < kCudaChunkTokens / 4) CopyAsync16(panels_.scales[next_panel_] + piece * 4, from, is_valid);
  }

  // Of the chunk whose copies are begun next. Warp collective.
  __device__ __forceinline__ unsigned RunAt(int run) const {
    return Shuffle(run_, static_cast<unsigned>(next_position_) % kCudaSplitTokens / kRunTokens + run);
  }

  // Calls fn(row, offset in the row's bytes) for this thread's pieces of a run.
  template <int kBytes, typename Function>
  __device__ __forceinline__ static void ForPieces(Function fn) {
    constexpr int kRowPieces = kHeadDim * kBytes / 16, kPieces = kRunTokens * kRowPieces;
#pragma unroll
    for (int first = 0; first < kPieces; first += kThreads) {
      const int piece = first + static_cast<int>(threadIdx.x);
      if (kPieces % kThreads == 0 || piece < kPieces) fn(piece / kRowPieces, piece % kRowPieces * 16);
    }
  }

  // Values kept as NaN are replaced by zeros, and their scales by NaN: a product with 0, the weight of a token that a
  // row does not see, is then 0. Where all rows see all tokens nothing needs it: such rows become NaN all the same.
  __device__ __forceinline__ void CleanValues() const {
    for (int run = 0; run < kCudaChunkTokens; run += kRunTokens) {
      ForPieces<2>([&](int row, int offset) {  // Which this thread has copied itself.
        auto* piece = reinterpret_cast<uint4*>(panels_.rows[current_][run + row] + offset);
        const bool is_nan = (piece->x & 0x7fff) > 0x7f80;
        if (is_nan) *piece = make_uint4(0, 0, 0, 0);
        if (offset == 0) panels_.scales[current_][run + row] = is_nan ? __uint_as_float(0x7fffffffu) : 1.0f;
      });
    }
  }

  const CudaKvLayer& layer_;
  const CudaAttentionItem& item_;
  Panels& panels_;
  unsigned run_ = 0;
  int next_position_;  // Of the panel whose copies are begun next,
  int next_panel_ = 0;
  bool next_is_values_ = false;
  int current_ = kPanels - 1;
};

}  // namespace quire
