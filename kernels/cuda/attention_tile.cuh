// The work of a block for an item of many rows: the query rows with one KV head, over the item's positions.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_loads.cuh"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_state.cuh"
#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"

namespace quire {

// head_dim is at most kHeadDim; the dimensions beyond it are zeros.
template <int kHeadDim, int kWarps>
struct AttentionShared {
  static constexpr int kPanelDims = kHeadDim < 128 ? kHeadDim : 128;

  alignas(16) std::byte queries[kWarps * kCudaWarpRows][SharedRowBytes(2 * kHeadDim)];
  KvPanel<kPanelDims> panels[2];
  alignas(16) std::byte codes[kCudaChunkTokens][kPanelDims];
  alignas(16) float4 totals[kWarps][kHeadDim / 8][kWarpSize];  // The weighted values of the splits before this one.
  alignas(16) float key_scales[kCudaChunkTokens];
  alignas(16) float value_scales[kCudaChunkTokens];
};

// Each warp has kCudaWarpRows rows; a lane has parts of two of them, rows lane / 4 and lane / 4 + 8, as fragments of
// matrix products have them (kernels/cuda/device.cuh). All warps of a block load K and V together; the copies of one
// panel are under way while another is used.
template <int kHeadDim, int kWarps>
class AttentionTile {
 public:
  using Shared = AttentionShared<kHeadDim, kWarps>;

  __device__ AttentionTile(const AttentionParameters& parameters, const CudaAttentionItem& item, int kv_head,
                           Shared& shared)
      : args_(parameters.args),
        parameters_(parameters),
        item_(item),
        kv_head_(kv_head),
        shared_(shared),
        warp_(threadIdx.x / kWarpSize),
        lane_(threadIdx.x % kWarpSize),
        loader_(args_.layer, item, args_.block_indices, kv_head, shared.codes) {}

  __device__ __forceinline__ void Run() {
    const int begin_chunk = item_.begin / kCudaChunkTokens;
    const int end_chunk = (item_.end + kCudaChunkTokens - 1) / kCudaChunkTokens;
    loader_.Begin(args_.layer.keys, begin_chunk, 0, shared_.panels[0], shared_.key_scales);
    FindRows();
    LoadQueries();
    Reset();
    constexpr int kSplitChunks = kCudaSplitTokens / kCudaChunkTokens;
    for (int chunk = begin_chunk; chunk < end_chunk; ++chunk) {
      AttendChunk(chunk, chunk + 1 == end_chunk);
      if (chunk + 1 == end_chunk || (chunk + 1) % kSplitChunks == 0) EndSplit(chunk / kSplitChunks);
    }
    if (item_.is_cut == 0) WriteOutput();
  }

 private:
  static constexpr int kPanelDims = Shared::kPanelDims;
  static constexpr int kPanels = kHeadDim / kPanelDims;
  static constexpr int kDimTiles = kHeadDim / 8;               // Columns of fragments of weighted values,
  static constexpr int kPositionTiles = kCudaChunkTokens / 8;  // and of scores.
  static_assert(kHeadDim % kPanelDims == 0 && kPanelDims % 16 == 0);

  __device__ __forceinline__ void FindRows() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      rows_[half] = AttentionRowAt(parameters_, item_, kv_head_, warp_ * kCudaWarpRows + half * 8 + lane_ / 4);
    }
  }

  // The warp's rows.
  __device__ __forceinline__ void LoadQueries() {
    for (int i = 0; i < kCudaWarpRows; ++i) {
      const int index = warp_ * kCudaWarpRows + i;
      LoadQuery<kHeadDim>(parameters_, AttentionRowAt(parameters_, item_, kv_head_, index), shared_.queries[index]);
    }
    SyncWarp();
  }

  __device__ __forceinline__ void Reset() {
    // In bfloat16 keys have no scales to be loaded.
    const int index = threadIdx.x;
    if (args_.layer.keys.dtype == KvDType::kBF16) {
      for (int i = index; i < kCudaChunkTokens; i += kWarps * kWarpSize) shared_.key_scales[i] = 1;
    }
#pragma unroll
    for (int i = 0; i < kDimTiles; ++i) {
      shared_.totals[warp_][i][lane_] = make_float4(0, 0, 0, 0);
#pragma unroll
      for (int j = 0; j < 4; ++j) weighted_[i][j] = 0;
    }
  }

  // Adds the chunk to the split's state. Panel after panel is waited for, the next one begun, and this one used; the
  // barrier in between makes the panel visible and says that nobody uses the other one any more.
  __device__ __forceinline__ void AttendChunk(int chunk, bool is_last) {
    const CudaKvPlane &keys = args_.layer.keys, &values = args_.layer.values;
    const int origin = chunk * kCudaChunkTokens;
    const bool sees[2] = {rows_[0].SeesAnyOf(origin, kCudaChunkTokens), rows_[1].SeesAnyOf(origin, kCudaChunkTokens)};
    const bool warp_sees = Any(sees[0] || sees[1]);
    float scores[kPositionTiles][4] = {};
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
      loader_.FinishKeys(keys, shared_.panels[current_]);
      SyncBlock();
      if (panel + 1 < kPanels) {
        loader_.Begin(keys, chunk, (panel + 1) * kPanelDims, shared_.panels[1 - current_], shared_.key_scales);
      } else {
        loader_.Begin(values, chunk, 0, shared_.panels[1 - current_], shared_.value_scales);
      }
      if (warp_sees) AddScores(panel, scores);
      current_ = 1 - current_;
    }
    if (warp_sees) {
      const float kept[2] = {Weigh(0, origin, sees[0], scores), Weigh(1, origin, sees[1], scores)};
      Keep(kept);
    }
    uint32_t weights[kPositionTiles / 2][4];
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
      loader_.FinishValues(values, panel * kPanelDims, shared_.panels[current_], shared_.value_scales);
      SyncBlock();
      if (panel + 1 < kPanels) {
        loader_.Begin(values, chunk, (panel + 1) * kPanelDims, shared_.panels[1 - current_], shared_.value_scales);
      } else if (!is_last) {
        loader_.Begin(keys, chunk + 1, 0, shared_.panels[1 - current_], shared_.key_scales);
      }
      if (warp_sees) {
        if (panel == 0) RoundWeights(origin, scores, weights);
        AddValues(panel, weights);
      }
      current_ = 1 - current_;
    }
  }

  // Scores of the chunk's positions, over the panel's dimensions.
  __device__ __forceinline__ void AddScores(int panel, float (&scores)[kPositionTiles][4]) const {
    const auto& rows = shared_.panels[current_].rows;
    const std::byte* query = shared_.queries[warp_ * kCudaWarpRows + lane_ % 16] + lane_ / 16 * 16;
#pragma unroll
    for (int dim = 0; dim < kPanelDims; dim += 16) {
      uint32_t a[4];
      LoadMatrix4(a, query + 2 * (panel * kPanelDims + dim));
#pragma unroll
      for (int tile = 0; tile < kPositionTiles; tile += 2) {
        uint32_t b[4];
        LoadMatrix4(b, rows[tile * 8 + lane_ % 8 + lane_ / 16 * 8] + 2 * dim + lane_ / 8 % 2 * 16);
        MmaBFloat16(scores[tile], a, {b[0], b[1]});
        MmaBFloat16(scores[tile + 1], a, {b[2], b[3]});
      }
    }
  }

  // Makes weights of a row's scores and adds them to the row's state. Returns by what the weighted values so far are to
  // be multiplied.
  __device__ __forceinline__ float Weigh(int half, int origin, bool sees, float (&scores)[kPositionTiles][4]) {
    const AttentionRow& row = rows_[half];
    float max = splits_[half].max;
#pragma unroll
    for (int i = 0; i < kPositionTiles * 2; ++i) {
      const int offset = OffsetOf(i);
      float& score = scores[i / 2][half * 2 + i % 2];
      score = row.Sees(origin + offset) ? __fmul_rn(score, shared_.key_scales[offset]) : -INFINITY;
      max = fmaxf(max, score);
    }
    max = fmaxf(max, ShuffleXor(max, 1));
    max = fmaxf(max, ShuffleXor(max, 2));
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kPositionTiles * 2; ++i) {
      float& score = scores[i / 2][half * 2 + i % 2];
      score = row.Sees(origin + OffsetOf(i)) ? Exp2(__fsub_rn(score, max)) : 0;
      sum = __fadd_rn(sum, score);
    }
    sum = __fadd_rn(sum, ShuffleXor(sum, 1));
    sum = __fadd_rn(sum, ShuffleXor(sum, 2));
    return sees ? AddWeights(splits_[half], max, sum) : 1;
  }

  // Multiplies the rows' weighted values. Maxima seldom grow after the first chunks.
  __device__ __forceinline__ void Keep(const float (&kept)[2]) {
    if (!Any(kept[0] != 1 || kept[1] != 1)) return;
#pragma unroll
    for (int tile = 0; tile < kDimTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) weighted_[tile][i] = __fmul_rn(weighted_[tile][i], kept[i / 2]);
    }
  }

  // Weights times values' scales, as fragments of the left side of a product.
  __device__ __forceinline__ void RoundWeights(int origin, const float (&scores)[kPositionTiles][4],
                                               uint32_t (&weights)[kPositionTiles / 2][4]) const {
#pragma unroll
    for (int tile = 0; tile < kPositionTiles; ++tile) {
      const int offset = OffsetOf(2 * tile);
      const float low = shared_.value_scales[offset], high = shared_.value_scales[offset + 1];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float* weight = scores[tile] + 2 * half;
        const float first = rows_[half].Sees(origin + offset) ? __fmul_rn(weight[0], low) : 0;
        const float second = rows_[half].Sees(origin + offset + 1) ? __fmul_rn(weight[1], high) : 0;
        weights[tile / 2][tile % 2 * 2 + half] = RoundToBFloat16Pair(first, second);
      }
    }
  }

  // Adds the panel's dimensions of the chunk's values to the split's.
  __device__ __forceinline__ void AddValues(int panel, const uint32_t (&weights)[kPositionTiles / 2][4]) {
    const auto& rows = shared_.panels[current_].rows;
#pragma unroll
    for (int dim = 0; dim < kPanelDims; dim += 16) {
      float(*weighted)[4] = weighted_ + (panel * kPanelDims + dim) / 8;
#pragma unroll
      for (int i = 0; i < kPositionTiles / 2; ++i) {
        uint32_t b[4];
        LoadMatrix4Transposed(b, rows[i * 16 + lane_ % 16] + 2 * dim + lane_ / 16 * 16);
        MmaBFloat16(weighted[0], weights[i], {b[0], b[1]});
        MmaBFloat16(weighted[1], weights[i], {b[2], b[3]});
      }
    }
  }

  // Adds the split's state to the total, or leaves it to be merged, and makes it empty again.
  __device__ __forceinline__ void EndSplit(int split) {
    const int origin = split * kCudaSplitTokens;
    MergeFactors factors[2];
    bool sees[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const AttentionRow& row = rows_[half];
      sees[half] = row.SeesAnyOf(origin, kCudaSplitTokens);
      if (sees[half] && item_.is_cut != 0) WritePartial(half, split);
      if (sees[half]) factors[half] = MergeState(totals_[half], splits_[half]);
      splits_[half] = {};
    }
#pragma unroll
    for (int tile = 0; tile < kDimTiles; ++tile) {
      float4& total = shared_.totals[warp_][tile][lane_];
      float(&weighted)[4] = weighted_[tile];
      if (item_.is_cut == 0 && sees[0]) total.x = MergeWeighted(total.x, weighted[0], factors[0]);
      if (item_.is_cut == 0 && sees[0]) total.y = MergeWeighted(total.y, weighted[1], factors[0]);
      if (item_.is_cut == 0 && sees[1]) total.z = MergeWeighted(total.z, weighted[2], factors[1]);
      if (item_.is_cut == 0 && sees[1]) total.w = MergeWeighted(total.w, weighted[3], factors[1]);
#pragma unroll
      for (int i = 0; i < 4; ++i) weighted[i] = 0;
    }
  }

  __device__ __forceinline__ void WritePartial(int half, int split) const {
    const AttentionRow& row = rows_[half];
    const int head_dim = args_.layer.head_dim;
    const int64_t index = static_cast<int64_t>(row.first_state + split) * args_.num_heads + row.head;
    float* state = args_.partials + index * (head_dim + 2);
    if (lane_ % 4 == 0) *reinterpret_cast<float2*>(state) = make_float2(splits_[half].max, splits_[half].sum);
#pragma unroll
    for (int tile = 0; tile < kDimTiles; ++tile) {
      const int dim = DimOf(tile);
      const float* weighted = weighted_[tile] + 2 * half;
      if (dim < head_dim) *reinterpret_cast<float2*>(state + 2 + dim) = make_float2(weighted[0], weighted[1]);
    }
  }

  __device__ __forceinline__ void WriteOutput() const {
    const int head_dim = args_.layer.head_dim;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const AttentionRow& row = rows_[half];
      if (row.token < 0) continue;
      float* output = args_.output + row.token * args_.output_stride + static_cast<int64_t>(row.head) * head_dim;
#pragma unroll
      for (int tile = 0; tile < kDimTiles; ++tile) {
        const int dim = DimOf(tile);
        const float4 total = shared_.totals[warp_][tile][lane_];
        const float x = half == 0 ? total.x : total.z, y = half == 0 ? total.y : total.w;
        if (dim >= head_dim) continue;
        *reinterpret_cast<float2*>(output + dim) =
            make_float2(__fdiv_rn(x, totals_[half].sum), __fdiv_rn(y, totals_[half].sum));
      }
    }
  }

  // From the beginning of the chunk to the lane's i'th position.
  __device__ __forceinline__ int OffsetOf(int i) const { return i / 2 * 8 + lane_ % 4 * 2 + i % 2; }
  // The first of the lane's two dimensions in a column of fragments.
  __device__ __forceinline__ int DimOf(int tile) const { return tile * 8 + lane_ % 4 * 2; }

  const CudaAttentionArgs& args_;
  const AttentionParameters& parameters_;
  const CudaAttentionItem& item_;
  const int kv_head_;
  Shared& shared_;
  const int warp_;
  const int lane_;
  PanelLoader<kPanelDims, kWarps * kWarpSize> loader_;
  int current_ = 0;  // The panel to be used next.
  AttentionRow rows_[2];
  SoftmaxState splits_[2];        // Of the split at hand,
  SoftmaxState totals_[2];        // and of those before it.
  float weighted_[kDimTiles][4];  // The sums of weighted values of the split at hand.
};

}  // namespace quire
