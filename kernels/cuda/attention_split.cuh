// The work of a block for an item of few rows and one split: a generated token with one KV head, most of the time. What
// limits it is how fast K and V come from memory, so several panels of them are under way while another is used.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_codes.cuh"
#include "kernels/cuda/attention_panels.cuh"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_state.cuh"
#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"

namespace quire {

constexpr int kCudaSplitWarps = 4;

// Elements have up to kElementBytes. head_dim is at most kHeadDim; the dimensions beyond it are zeros.
template <int kHeadDim, int kElementBytes>
struct AttentionSplitShared {
  SplitPanels<kHeadDim, kElementBytes> panels;
  alignas(16) std::byte queries[kCudaWarpRows][SharedRowBytes(2 * kHeadDim)];
  alignas(16) float scores[kCudaWarpRows][kCudaChunkTokens + 8];
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
        loader_(parameters.args, item, kv_head, shared.panels),
        has_upper_(item.num_tokens * parameters.group > 8) {}

  __device__ __forceinline__ void Run() {
    const int begin_chunk = item_.begin / kCudaChunkTokens;
    const int end_chunk = (item_.end + kCudaChunkTokens - 1) / kCudaChunkTokens;
    loader_.Begin();
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
  static constexpr int kPositionTiles = kCudaChunkTokens / 8;  // Columns of fragments of scores.
  static constexpr int kWarpTiles = kPositionTiles / kCudaSplitWarps;
  static constexpr int kDimBlocks = kHeadDim / 16;
  static constexpr int kWarpBlocks = (kDimBlocks + kCudaSplitWarps - 1) / kCudaSplitWarps;
  static_assert(kWarpTiles % 2 == 0);

  __device__ static bool SeesAllOrIsNone(const AttentionRow& row, int origin) {
    return row.token < 0 || row.SeesAllOf(origin, kCudaChunkTokens);
  }

  __device__ __forceinline__ void LoadQueries() {
    for (int i = warp_; i < kCudaWarpRows; i += kCudaSplitWarps) {
      LoadQuery<kHeadDim>(parameters_, AttentionRowAt(parameters_, item_, kv_head_, i), shared_.queries[i]);
    }
  }

  // Adds the chunk to the state. kIsWhole: all rows see all of it.
  template <bool kIsWhole>
  __device__ __forceinline__ void AttendChunk(int origin) {
    loader_.template Next<false>();
    WriteScores();
    loader_.template Next<!kIsWhole>();
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
        const auto scale = *reinterpret_cast<const float2*>(loader_.scales() + offset);
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
    return loader_.row(row) + lane_ / 8 % 2 * 16;
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
        const auto scale = *reinterpret_cast<const float2*>(loader_.scales() + OffsetOf(2 * tile));
#pragma unroll
        for (int i = 2 * tile; i < 2 * tile + 2; ++i) {
          if (!kIsWhole && !row.Sees(origin + OffsetOf(i))) continue;
          scores[i] = __fmul_rn(scores[i], i % 2 == 0 ? scale.x : scale.y);
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kPositionTiles; ++tile) {
      weights[tile / 2][tile % 2 * 2 + half] = RoundToBFloat16Pair(scores[2 * tile], scores[2 * tile + 1]);
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
        LoadMatrix4Transposed(b, loader_.row(i * 16 + lane_ % 16) + 2 * dim + lane_ / 16 * 16);
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
        LoadMatrix4Transposed(codes, loader_.row(i * 16 + lane_) + dim);
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
  SplitPanelLoader<kHeadDim, kElementBytes, kCudaSplitWarps * kWarpSize> loader_;
  const bool has_upper_;  // Whether there are more than 8 rows.
  AttentionRow rows_[2];
  SoftmaxState states_[2];
  float weighted_[kWarpBlocks][2][4] = {};
};

}  // namespace quire
