// The work of a block for an item of few rows and one split: a generated token with one KV head, most of the time. What
// limits it is how fast K and V come from memory, so several of them are under way while others are used.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_codes.cuh"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_state.cuh"
#include "kernels/cuda/device.cuh"

namespace quire {

constexpr int kCudaSplitWarps = 4;

// Elements have up to kElementBytes. head_dim is at most kHeadDim; the dimensions beyond it are zeros.
template <int kHeadDim, int kElementBytes>
struct AttentionSplitShared {
  static constexpr int kPanelBytes = kCudaChunkTokens * SharedRowBytes(kHeadDim * kElementBytes);
  // With heads of 128 dimensions a multiprocessor of an H100 has 3 (bfloat16) or 4 blocks at a time.
  static constexpr int kPanels = kPanelBytes < 12 * 1024 ? 4 : kPanelBytes < 24 * 1024 ? 3 : 2;

  // The keys or values of a chunk's tokens, as they lie in the cache. Used in turn.
  alignas(16) std::byte panels[kPanels][kCudaChunkTokens][SharedRowBytes(kHeadDim * kElementBytes)];
  alignas(16) std::byte queries[kCudaWarpRows][SharedRowBytes(2 * kHeadDim)];
  alignas(16) float scores[kCudaWarpRows][kCudaChunkTokens + 8];
  alignas(16) float scales[kPanels][kCudaChunkTokens];
};

// Each warp makes the scores of some of a chunk's positions. All of them then make the same weights of all scores, and
// each adds up some of the values' dimensions. A lane has parts of rows lane / 4 and lane / 4 + 8, as fragments of
// matrix products have them (kernels/cuda/device.cuh).
template <int kHeadDim, int kElementBytes>
class AttentionSplit {
 public:
  using Shared = AttentionSplitShared<kHeadDim, kElementBytes>;

  __device__ AttentionSplit(const AttentionParameters& parameters, const CudaAttentionItem& item, int kv_head,
                            Shared& shared)
      : args_(parameters.args),
        parameters_(parameters),
        item_(item),
        kv_head_(kv_head),
        shared_(shared),
        warp_(threadIdx.x / kWarpSize),
        lane_(threadIdx.x % kWarpSize),
        next_position_(item.begin / kCudaChunkTokens * kCudaChunkTokens),
        has_upper_(item.num_tokens * parameters.group > 8) {}

  __device__ __forceinline__ void Run() {
    const int begin_chunk = item_.begin / kCudaChunkTokens;
    const int end_chunk = (item_.end + kCudaChunkTokens - 1) / kCudaChunkTokens;
    FindRuns();
#pragma unroll
    for (int i = 0; i < kPanels - 1; ++i) BeginPanel();
    LoadQueries();
    for (int half = 0; half < 2; ++half) {
      rows_[half] = AttentionRowAt(parameters_, item_, kv_head_, half * 8 + lane_ / 4);
    }
    for (int chunk = begin_chunk; chunk < end_chunk; ++chunk) {
      const int origin = chunk * kCudaChunkTokens;
      const bool misses_some = !SeesAllOrIsNone(rows_[0], origin) || !SeesAllOrIsNone(rows_[1], origin);
      if (Any(misses_some)) {
        AttendChunk<false>(origin);
      } else {
        AttendChunk<true>(origin);
      }
    }
    for (int half = 0; half < 2; ++half) Write(half);
  }

 private:
  static constexpr int kPanels = Shared::kPanels;
  static constexpr int kThreads = kCudaSplitWarps * kWarpSize;
  static constexpr int kPositionTiles = kCudaChunkTokens / 8;  // Columns of fragments of scores.
  static constexpr int kWarpTiles = kPositionTiles / kCudaSplitWarps;
  static constexpr int kDimBlocks = kHeadDim / 16;
  static constexpr int kWarpBlocks = (kDimBlocks + kCudaSplitWarps - 1) / kCudaSplitWarps;
  static constexpr int kRunTokens = 16;  // Tokens that are sure to lie side by side on one page.
  static_assert(kWarpTiles % 2 == 0 && kCudaSplitTokens == kRunTokens * kWarpSize);

  __device__ static bool SeesAllOrIsNone(const AttentionRow& row, int origin) {
    return row.token < 0 || row.SeesAllOf(origin, kCudaChunkTokens);
  }

  // Lane i has where the split's i'th run lies in a plane, in tokens of one head.
  __device__ __forceinline__ void FindRuns() {
    const CudaKvLayer& layer = args_.layer;
    const int position = item_.begin / kCudaSplitTokens * kCudaSplitTokens + lane_ * kRunTokens;
    const bool is_inside = position < item_.end && position + kRunTokens > item_.begin;
    const int slot = position / layer.page_size;
    const unsigned page = is_inside ? args_.block_indices[item_.first_page + slot] : 0;
    run_ = (page * layer.num_kv_heads + kv_head_) * layer.page_size + (position - slot * layer.page_size);
  }

  __device__ __forceinline__ void LoadQueries() {
    for (int i = warp_; i < kCudaWarpRows; i += kCudaSplitWarps) {
      LoadQuery<kHeadDim>(parameters_, AttentionRowAt(parameters_, item_, kv_head_, i), shared_.queries[i]);
    }
  }

  // Begins to copy the next panel: a chunk's keys, then its values. Tokens outside the item become zeros.
  __device__ __forceinline__ void BeginPanel() {
    if (next_position_ < item_.end) {
      const CudaKvPlane& plane = next_is_values_ ? args_.layer.values : args_.layer.keys;
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
    const unsigned head_bytes = args_.layer.head_dim * kBytes;
    const auto length = static_cast<unsigned>(item_.end - item_.begin);
#pragma unroll
    for (int run = 0; run < kCudaChunkTokens / kRunTokens; ++run) {
      const unsigned from_begin = next_position_ + run * kRunTokens - item_.begin;
      const std::byte* from = plane.elements + uint64_t{RunAt(run)} * head_bytes;
      ForPieces<kBytes>([&](unsigned row, unsigned offset) {
        const bool is_valid = from_begin + row < length && offset < head_bytes;
        CopyAsync16(shared_.panels[next_panel_][run * kRunTokens + row] + offset, from + row * head_bytes + offset,
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
    if (threadIdx.x < kCudaChunkTokens / 4) CopyAsync16(shared_.scales[next_panel_] + piece * 4, from, is_valid);
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

  // Waits for the oldest panel, which then is the current one, and begins another in place of the one before it. Also
  // makes visible what the threads wrote to shared memory.
  template <bool kCleansValues>
  __device__ __forceinline__ void NextPanel() {
    WaitCopies<kPanels - 2>();
    current_ = current_ + 1 == kPanels ? 0 : current_ + 1;
    if (kCleansValues && kElementBytes == 2 && args_.layer.values.dtype == KvDType::kBF16) CleanValues();
    SyncBlock();
    BeginPanel();
  }

  // Values kept as NaN are replaced by zeros, and their scales by NaN: a product with 0, the weight of a token that a
  // row does not see, is then 0. Where all rows see all tokens nothing needs it: such rows become NaN all the same.
  __device__ __forceinline__ void CleanValues() const {
    for (int run = 0; run < kCudaChunkTokens; run += kRunTokens) {
      ForPieces<2>([&](int row, int offset) {  // Which this thread has copied itself.
        auto* piece = reinterpret_cast<uint4*>(shared_.panels[current_][run + row] + offset);
        const bool is_nan = (piece->x & 0x7fff) > 0x7f80;
        if (is_nan) *piece = make_uint4(0, 0, 0, 0);
        if (offset == 0) shared_.scales[current_][run + row] = is_nan ? __uint_as_float(0x7fffffffu) : 1.0f;
      });
    }
  }

  // Adds the chunk to the state. kIsWhole: all rows see all of it.
  template <bool kIsWhole>
  __device__ __forceinline__ void AttendChunk(int origin) {
    NextPanel<false>();
    WriteScores();
    NextPanel<!kIsWhole>();
    uint32_t weights[kPositionTiles / 2][4] = {};
    float kept[2] = {1, 1};
    kept[0] = Weigh<kIsWhole>(0, origin, weights);
    if (has_upper_) kept[1] = Weigh<kIsWhole>(1, origin, weights);
    Keep(kept);
    switch (args_.layer.values.dtype) {
      case KvDType::kFp8:
        return AddCodes<KvDType::kFp8>(weights);
      case KvDType::kInt8:
        return AddCodes<KvDType::kInt8>(weights);
      default:
        if constexpr (kElementBytes == 2) AddValues(weights);
    }
  }

  __device__ __forceinline__ void WriteScores() {
    float scores[kWarpTiles][4] = {};
    const bool has_scales = args_.layer.keys.dtype != KvDType::kBF16;
    switch (args_.layer.keys.dtype) {
      case KvDType::kFp8:
        MultiplyCodes<KvDType::kFp8>(scores);
        break;
      case KvDType::kInt8:
        MultiplyCodes<KvDType::kInt8>(scores);
        break;
      default:
        if constexpr (kElementBytes == 2) MultiplyKeys(scores);
    }
#pragma unroll
    for (int tile = 0; tile < kWarpTiles; ++tile) {
      const int offset = (warp_ * kWarpTiles + tile) * 8 + lane_ % 4 * 2;
      float(&score)[4] = scores[tile];
      if (has_scales) {
        const auto scale = *reinterpret_cast<const float2*>(shared_.scales[current_] + offset);
#pragma unroll
        for (int i = 0; i < 4; ++i) score[i] = __fmul_rn(score[i], i % 2 == 0 ? scale.x : scale.y);
      }
      *reinterpret_cast<float2*>(shared_.scores[lane_ / 4] + offset) = make_float2(score[0], score[1]);
      if (has_upper_)
        *reinterpret_cast<float2*>(shared_.scores[lane_ / 4 + 8] + offset) = make_float2(score[2], score[3]);
    }
  }

  // The row of a panel from which a lane loads parts of two tiles' keys, and at which 16 bytes.
  __device__ __forceinline__ const std::byte* KeysAt(int tile) const {
    const int row = (warp_ * kWarpTiles + tile) * 8 + lane_ % 8 + lane_ / 16 * 8;
    return shared_.panels[current_][row] + lane_ / 8 % 2 * 16;
  }

  // 16 dimensions of the rows' queries, as a fragment of the left side of a product.
  __device__ __forceinline__ void LoadFragment(int dim, uint32_t (&a)[4]) const {
    LoadMatrix4(a, shared_.queries[lane_ % 16] + lane_ / 16 * 16 + 2 * dim);
  }

  __device__ __forceinline__ void MultiplyKeys(float (&scores)[kWarpTiles][4]) const {
#pragma unroll
    for (int dim = 0; dim < kHeadDim; dim += 16) {
      uint32_t a[4];
      LoadFragment(dim, a);
#pragma unroll
      for (int tile = 0; tile < kWarpTiles; tile += 2) {
        uint32_t b[4];
        LoadMatrix4(b, KeysAt(tile) + 2 * dim);
        MmaBFloat16(scores[tile], a, {b[0], b[1]});
        MmaBFloat16(scores[tile + 1], a, {b[2], b[3]});
      }
    }
  }

  // A register of loaded codes has four neighbouring dimensions of a token. Behind the last 16 dimensions others are
  // loaded for nothing if their number is odd.
  template <KvDType kDType>
  __device__ __forceinline__ void MultiplyCodes(float (&scores)[kWarpTiles][4]) const {
#pragma unroll
    for (int dim = 0; dim < kHeadDim; dim += 32) {
      uint32_t a[2][4];
      LoadFragment(dim, a[0]);
      if (dim + 16 < kHeadDim) LoadFragment(dim + 16, a[1]);
#pragma unroll
      for (int tile = 0; tile < kWarpTiles; tile += 2) {
        uint32_t codes[4];
        LoadMatrix4(codes, KeysAt(tile) + dim);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (dim + i % 2 * 16 >= kHeadDim) continue;
          const uint32_t b[2] = {DecodeTwo<kDType, 0, 1>(codes[i]), DecodeTwo<kDType, 2, 3>(codes[i])};
          MmaBFloat16(scores[tile + i / 2], a[i % 2], b);
        }
      }
    }
  }

  // Makes weights of a row's scores and adds them to its state. Returns by what the weighted values so far are to be
  // multiplied.
  template <bool kIsWhole>
  __device__ __forceinline__ float Weigh(int half, int origin, uint32_t (&weights)[kPositionTiles / 2][4]) {
    const AttentionRow& row = rows_[half];
    float scores[kPositionTiles * 2];
    float max = states_[half].max;
#pragma unroll
    for (int tile = 0; tile < kPositionTiles; ++tile) {
      const auto pair = *reinterpret_cast<const float2*>(shared_.scores[half * 8 + lane_ / 4] + OffsetOf(2 * tile));
      scores[2 * tile] = pair.x;
      scores[2 * tile + 1] = pair.y;
    }
#pragma unroll
    for (int i = 0; i < kPositionTiles * 2; ++i) {
      if (!kIsWhole && !row.Sees(origin + OffsetOf(i))) scores[i] = -INFINITY;
      max = fmaxf(max, scores[i]);
    }
    max = fmaxf(max, ShuffleXor(max, 1));
    max = fmaxf(max, ShuffleXor(max, 2));
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kPositionTiles * 2; ++i) {
      scores[i] = kIsWhole || row.Sees(origin + OffsetOf(i)) ? Exp2(__fsub_rn(scores[i], max)) : 0;
      sum = __fadd_rn(sum, scores[i]);
    }
    sum = __fadd_rn(sum, ShuffleXor(sum, 1));
    sum = __fadd_rn(sum, ShuffleXor(sum, 2));
    if (!kIsWhole || args_.layer.values.dtype != KvDType::kBF16) {
#pragma unroll
      for (int tile = 0; tile < kPositionTiles; ++tile) {
        const auto scale = *reinterpret_cast<const float2*>(shared_.scales[current_] + OffsetOf(2 * tile));
#pragma unroll
        for (int i = 2 * tile; i < 2 * tile + 2; ++i) {
          if (!kIsWhole && !row.Sees(origin + OffsetOf(i))) continue;
          scores[i] = __fmul_rn(scores[i], i % 2 == 0 ? scale.x : scale.y);
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kPositionTiles; ++tile) {
      weights[tile / 2][tile % 2 * 2 + half] = AsBits(__floats2bfloat162_rn(scores[2 * tile], scores[2 * tile + 1]));
    }
    if (!kIsWhole && !row.SeesAnyOf(origin, kCudaChunkTokens)) return 1;
    return AddWeights(states_[half], max, sum);
  }

  // Multiplies the rows' weighted values. Maxima seldom grow after the first chunks.
  __device__ __forceinline__ void Keep(const float (&kept)[2]) {
    if (!Any(kept[0] != 1 || kept[1] != 1)) return;
#pragma unroll
    for (int i = 0; i < kWarpBlocks * 8; ++i) {
      float& weighted = weighted_[i / 8][i / 4 % 2][i % 4];
      weighted = __fmul_rn(weighted, kept[i / 2 % 2]);
    }
  }

  __device__ __forceinline__ void AddValues(const uint32_t (&weights)[kPositionTiles / 2][4]) {
#pragma unroll
    for (int block = 0; block < kWarpBlocks; ++block) {
      const int dim = DimOf(block);
      if (kDimBlocks % kCudaSplitWarps != 0 && dim >= kHeadDim) continue;
#pragma unroll
      for (int i = 0; i < kPositionTiles / 2; ++i) {
        uint32_t b[4];
        LoadMatrix4Transposed(b, shared_.panels[current_][i * 16 + lane_ % 16] + 2 * dim + lane_ / 16 * 16);
        MmaBFloat16(weighted_[block][0], weights[i], {b[0], b[1]});
        MmaBFloat16(weighted_[block][1], weights[i], {b[2], b[3]});
      }
    }
  }

  // A register of loaded codes has two neighbouring dimensions of two tokens. Even dimensions go into one fragment, odd
  // ones into the other.
  template <KvDType kDType>
  __device__ __forceinline__ void AddCodes(const uint32_t (&weights)[kPositionTiles / 2][4]) {
#pragma unroll
    for (int block = 0; block < kWarpBlocks; ++block) {
      const int dim = DimOf(block);
      if (kDimBlocks % kCudaSplitWarps != 0 && dim >= kHeadDim) continue;
#pragma unroll
      for (int i = 0; i < kPositionTiles / 2; i += 2) {
        uint32_t codes[4];
        LoadMatrix4Transposed(codes, shared_.panels[current_][i * 16 + lane_] + dim);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const uint32_t(&a)[4] = weights[i + j];
          const uint32_t first = codes[2 * j], second = codes[2 * j + 1];
          const uint32_t even[2] = {DecodeTwo<kDType, 0, 2>(first), DecodeTwo<kDType, 0, 2>(second)};
          const uint32_t odd[2] = {DecodeTwo<kDType, 1, 3>(first), DecodeTwo<kDType, 1, 3>(second)};
          MmaBFloat16(weighted_[block][0], a, even);
          MmaBFloat16(weighted_[block][1], a, odd);
        }
      }
    }
  }

  // Leaves a row's state to be merged or, if there is no other, writes what MergeKernel would.
  __device__ __forceinline__ void Write(int half) const {
    const AttentionRow& row = rows_[half];
    if (!row.SeesAnyOf(item_.begin, item_.end - item_.begin)) return;
    const int head_dim = args_.layer.head_dim;
    const bool is_cut = item_.is_cut != 0, has_codes = args_.layer.values.dtype != KvDType::kBF16;
    SoftmaxState total;
    const MergeFactors factors = MergeState(total, states_[half]);
    float* values = args_.output + row.token * args_.output_stride + static_cast<int64_t>(row.head) * head_dim;
    if (is_cut) {
      const int64_t index = row.first_state + item_.begin / kCudaSplitTokens;
      float* state = args_.partials + (index * args_.num_heads + row.head) * (head_dim + 2);
      values = state + 2;
      if (warp_ == 0 && lane_ % 4 == 0) {
        *reinterpret_cast<float2*>(state) = make_float2(states_[half].max, states_[half].sum);
      }
    }
    const auto write = [&](int dim, float x, float y) {
      if (!is_cut) x = __fdiv_rn(MergeWeighted(0, x, factors), total.sum);
      if (!is_cut) y = __fdiv_rn(MergeWeighted(0, y, factors), total.sum);
      *reinterpret_cast<float2*>(values + dim) = make_float2(x, y);
    };
#pragma unroll
    for (int block = 0; block < kWarpBlocks; ++block) {
      const int dim = DimOf(block), t = lane_ % 4;
      if (dim >= head_dim) continue;
      const float *x = weighted_[block][0] + 2 * half, *y = weighted_[block][1] + 2 * half;
      if (has_codes) {
        write(dim + 4 * t, x[0], y[0]);
        write(dim + 4 * t + 2, x[1], y[1]);
      } else {
        write(dim + 2 * t, x[0], x[1]);
        write(dim + 8 + 2 * t, y[0], y[1]);
      }
    }
  }

  // From the beginning of the chunk to the lane's i'th position.
  __device__ __forceinline__ int OffsetOf(int i) const { return i / 2 * 8 + lane_ % 4 * 2 + i % 2; }
  // Where the warp's blocks of 16 dimensions begin.
  __device__ __forceinline__ int DimOf(int block) const { return (block * kCudaSplitWarps + warp_) * 16; }

  const CudaAttentionArgs& args_;
  const AttentionParameters& parameters_;
  const CudaAttentionItem& item_;
  const int kv_head_;
  Shared& shared_;
  const int warp_;
  const int lane_;
  unsigned run_ = 0;
  int next_position_;  // Of the panel whose copies are begun next,
  int next_panel_ = 0;
  bool next_is_values_ = false;
  int current_ = kPanels - 1;
  const bool has_upper_;  // Whether there are more than 8 rows.
  AttentionRow rows_[2];
  SoftmaxState states_[2];
  float weighted_[kWarpBlocks][2][4] = {};
};

}  // namespace quire
