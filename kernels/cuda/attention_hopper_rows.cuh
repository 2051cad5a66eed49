// The work of a block on Hopper: the query rows of an item with one KV head, over the item's positions. One warpgroup,
// the loader, copies K and V of chunks into shared memory, some stages ahead; two others have 64 rows each.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_hopper.h"
#include "kernels/cuda/attention_hopper_stages.cuh"
#include "kernels/cuda/attention_state.cuh"
#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/hopper.cuh"

namespace quire {

#ifdef QUIRE_HOPPER_CODE

// What a warpgroup with rows does.
//
// Fragments of products lie in lanes as in AttentionTile: a lane has parts of two rows. While the warpgroup makes
// weights of a chunk's scores, matrix instructions add up the values of the chunk before it, and work for the other
// warpgroup.
template <int kHeadDim>
class HopperRows {
 public:
  using Shared = HopperAttentionShared<kHeadDim>;

  __device__ HopperRows(const HopperAttentionParameters& parameters, const CudaAttentionItem& item, int kv_head,
                        Shared& shared)
      : args_(parameters.args),
        parameters_(parameters),
        item_(item),
        kv_head_(kv_head),
        shared_(shared),
        row_group_(threadIdx.x / kWarpgroupThreads),
        lane_(threadIdx.x % kWarpSize) {}

  __device__ __forceinline__ void Run() {
    FindRows();
    LoadQueries();
    Clear();
    if (row_group_ == 1) PassTurn();  // The other one begins.
    const int begin_chunk = item_.begin / kCudaChunkTokens;
    const int num_chunks = (item_.end + kCudaChunkTokens - 1) / kCudaChunkTokens - begin_chunk;
    AwaitTurn(0);
    WgmmaFence();
    AddScores(0);
    PassTurn();
    WgmmaWait<0>();
    Weigh(begin_chunk);
    Keep();
    RoundWeights(begin_chunk, 0);
    for (int n = 1; n < num_chunks; ++n) {
      const int chunk = begin_chunk + n;
      AwaitTurn(n);
      WgmmaFence();
      AddScores(n);
      AddValues(n - 1);
      PassTurn();
      AddSums();
      if (chunk % kSplitChunks == 0) {
        WgmmaWait<0>();
        EndSplit(chunk / kSplitChunks - 1);
        Weigh(chunk);
      } else {
        WgmmaWait<1>();
        Weigh(chunk);
        WgmmaWait<0>();
      }
      Keep();
      Release(n - 1);
      RoundWeights(chunk, n);
    }
    WgmmaFence();
    AddValues(num_chunks - 1);
    AddSums();
    WgmmaWait<0>();
    FinishItem((begin_chunk + num_chunks - 1) / kSplitChunks);
    if (row_group_ == 0) AwaitTurn();
  }

 private:
  static constexpr int kSplitChunks = kCudaSplitTokens / kCudaChunkTokens;
  static constexpr int kPositionTiles = kCudaChunkTokens / 8;  // Columns of fragments of scores,
  static constexpr int kDimTiles = kHeadDim / 8;               // and of weighted values.
  static constexpr int kHalfBytes = kCudaChunkTokens * 128;
  static constexpr int kTurnThreads = kHopperRowGroups * kWarpgroupThreads;

  // One of the lane's two rows.
  struct Row {
    int token;  // -1: there is none.
    int head;
    int begin;  // Positions [begin, end) of the item are visible; all, if there is no such row.
    int end;
    SoftmaxState split;
    SoftmaxState total;

    __device__ __forceinline__ bool SeesAnyOf(int from, int count) const {
      return begin < from + count && end > from && begin < end;
    }
    __device__ __forceinline__ bool Sees(int position) const { return position >= begin && position < end; }
  };

  __device__ __forceinline__ int VisibleBegin(int end) const {
    return args_.sliding_window > 0 ? max(0, end - args_.sliding_window) : 0;
  }

  __device__ __forceinline__ void FindRows() {
    constexpr int kGroupRows = kHopperTileRows / kHopperRowGroups;
    const int first = row_group_ * kGroupRows + threadIdx.x % kWarpgroupThreads / kWarpSize * kCudaWarpRows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int index = first + half * 8 + lane_ / 4;
      Row& row = rows_[half];
      row = {-1, 0, item_.begin - kCudaChunkTokens, item_.end + kCudaChunkTokens, {}, {}};
      if (index < item_.num_tokens * parameters_.group) {
        row.token = args_.plan.tokens[item_.first_token + index / parameters_.group];
        row.head = kv_head_ * parameters_.group + index % parameters_.group;
        const int end = args_.positions[row.token] + 1;
        row.begin = max(VisibleBegin(end), item_.begin);
        row.end = min(end, item_.end);
      }
    }
    all_see_begin_ = max(rows_[0].begin, rows_[1].begin);
    all_see_end_ = min(rows_[0].end, rows_[1].end);
#pragma unroll
    for (int mask = 4; mask < kWarpSize; mask *= 2) {
      all_see_begin_ = max(all_see_begin_, ShuffleXor(all_see_begin_, mask));
      all_see_end_ = min(all_see_end_, ShuffleXor(all_see_end_, mask));
    }
  }

  // As the left side of products.
  __device__ __forceinline__ void LoadQueries() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Row& row = rows_[half];
      const float* query = args_.queries + row.token * args_.query_stride + row.head * kHeadDim + lane_ % 4 * 2;
#pragma unroll
      for (int i = 0; i < kHeadDim / 8; ++i) {
        float2 pair = make_float2(0, 0);
        if (row.token >= 0) pair = *reinterpret_cast<const float2*>(query + 8 * i);
        queries_[i / 2][i % 2 * 2 + half] =
            RoundToBFloat16Pair(__fmul_rn(pair.x, parameters_.query_factor), __fmul_rn(pair.y, parameters_.query_factor));
      }
    }
  }

  // The two warpgroups' products take turns, lest both make weights at the same time.
  __device__ __forceinline__ void AwaitTurn() const { SyncThreads(1 + row_group_, kTurnThreads); }
  __device__ __forceinline__ void PassTurn() const { ArriveThreads(1 + (1 - row_group_), kTurnThreads); }
  // Also waits for the item's n'th chunk.
  __device__ __forceinline__ void AwaitTurn(int n) {
    const HopperStage stage(n);
    shared_.full[stage.index].Wait(stage.parity);
    is_unsound_ = shared_.unsound[stage.index] == n + 1;
    AwaitTurn();
  }

  // Says that the warp does not need the n'th chunk any more.
  __device__ __forceinline__ void Release(int n) const {
    if (lane_ == 0) shared_.empty[HopperStage(n).index].Arrive();
  }

  // The descriptor of a tile so many bytes further on.
  __device__ __forceinline__ static uint64_t Further(uint64_t tile, int bytes) {
    const uint32_t low = static_cast<uint32_t>(tile) + static_cast<uint32_t>(bytes >> 4);
    return (tile >> 32 << 32) | low;
  }

  // Begins to make the scores of the item's n'th chunk.
  __device__ __forceinline__ void AddScores(int n) {
    const uint64_t b = DescribeRows(shared_.keys[HopperStage(n).index]);
#pragma unroll
    for (int i = 0; i < kHeadDim / 16; ++i) {
      Wgmma<false>(scores_, queries_[i], Further(b, i / 4 * kHalfBytes + i % 4 * 32), i > 0);
    }
    WgmmaCommit();
  }

  // Begins to add the values of the item's n'th chunk.
  __device__ __forceinline__ void AddValues(int n) {
    const uint64_t b = DescribeColumns(shared_.values[HopperStage(n).index], kHalfBytes);
#pragma unroll
    for (int i = 0; i < kCudaChunkTokens / 16; ++i) {
      Wgmma<true>(weighted_, weights_[i], Further(b, i * 2048), true);
    }
    WgmmaCommit();
  }

  // Makes weights of scores. It is known of nearly all chunks that every row sees all of them.
  __device__ __forceinline__ void Weigh(int chunk) {
    const int origin = chunk * kCudaChunkTokens;
    if (origin >= all_see_begin_ && origin + kCudaChunkTokens <= all_see_end_) {
      WeighRows<false>(origin);
    } else {
      WeighRows<true>(origin);
    }
  }

  template <bool kMasked>
  __device__ __forceinline__ void WeighRows(int origin) {
    float max[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Row& row = rows_[half];
      float maxima[4] = {row.split.max, -INFINITY, -INFINITY, -INFINITY};
#pragma unroll
      for (int i = 0; i < kPositionTiles * 2; ++i) {
        float& score = scores_[i / 2 * 4 + half * 2 + i % 2];
        if (kMasked && !row.Sees(origin + OffsetOf(i))) score = -INFINITY;
        maxima[i % 4] = fmaxf(maxima[i % 4], score);
      }
      max[half] = fmaxf(fmaxf(maxima[0], maxima[1]), fmaxf(maxima[2], maxima[3]));
    }
#pragma unroll
    for (int mask = 1; mask <= 2; ++mask) {
#pragma unroll
      for (float& x : max) x = fmaxf(x, ShuffleXor(x, mask));
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kPositionTiles * 2; ++i) {
        float& score = scores_[i / 2 * 4 + half * 2 + i % 2];
        score = !kMasked || rows_[half].Sees(origin + OffsetOf(i)) ? Exp2(__fsub_rn(score, max[half])) : 0;
        sum = __fadd_rn(sum, score);
      }
      Row& row = rows_[half];
      const bool sees = !kMasked || row.SeesAnyOf(origin, kCudaChunkTokens);
      kept_[half] = sees ? Exp2(__fsub_rn(row.split.max, max[half])) : 1;
      sums_[half] = sees ? sum : 0;
      row.split.max = max[half];
    }
  }

  // Multiplies the rows' weighted values before those of the latest weights are added.
  __device__ __forceinline__ void Keep() {
    if (!Any(kept_[0] != 1 || kept_[1] != 1)) return;
#pragma unroll
    for (int i = 0; i < kDimTiles * 4; ++i) weighted_[i] = __fmul_rn(weighted_[i], kept_[i / 2 % 2]);
  }

  // Adds the latest weights to the rows' sums. Nothing waits for those, so it goes where matrix instructions are at
  // work.
  __device__ __forceinline__ void AddSums() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = sums_[half];
      sum = __fadd_rn(sum, ShuffleXor(sum, 1));
      sum = __fadd_rn(sum, ShuffleXor(sum, 2));
      rows_[half].split.sum = __fmaf_rn(rows_[half].split.sum, kept_[half], sum);
    }
  }

  // Weights times values' scales, as the left side of products.
  __device__ __forceinline__ void RoundWeights(int chunk, int n) {
    const HopperStage stage(n);
    if (is_unsound_) {
      const float* scales = shared_.value_scales[stage.index];
#pragma unroll
      for (int i = 0; i < kPositionTiles * 4; ++i) {
        const int offset = OffsetOf(i / 4 * 2 + i % 2);
        const bool sees = rows_[i / 2 % 2].Sees(chunk * kCudaChunkTokens + offset);
        scores_[i] = sees ? __fmul_rn(scores_[i], scales[offset]) : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < kPositionTiles * 2; ++i) {
      weights_[i / 4][i % 4] = RoundToBFloat16Pair(scores_[2 * i], scores_[2 * i + 1]);
    }
  }

  // Adds the split's state to the total, or leaves it to be merged, and makes it empty again.
  __device__ __forceinline__ void EndSplit(int split) {
    if (item_.is_cut != 0) {
      WritePartials(split);
      return Clear();
    }
    AddSplit(split);
#pragma unroll
    for (int i = 0; i < kDimTiles; ++i) {
      Total(i) = make_float4(weighted_[4 * i], weighted_[4 * i + 1], weighted_[4 * i + 2], weighted_[4 * i + 3]);
    }
    has_total_ = true;
    Clear();
  }

  // The same at the item's end, where the total goes to the output.
  __device__ __forceinline__ void FinishItem(int split) {
    if (item_.is_cut != 0) return WritePartials(split);
    AddSplit(split);
    WriteOutput();
  }

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (float& x : weighted_) x = 0;
  }

  // Makes of the split's state that of the total.
  __device__ __forceinline__ void AddSplit(int split) {
    MergeFactors factors[2];
    bool sees[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Row& row = rows_[half];
      sees[half] = row.SeesAnyOf(split * kCudaSplitTokens, kCudaSplitTokens);
      if (sees[half]) factors[half] = MergeState(row.total, row.split);
      row.split = {};
    }
#pragma unroll
    for (int i = 0; i < kDimTiles; ++i) {
      const float4 total = has_total_ ? Total(i) : make_float4(0, 0, 0, 0);
      const float before[4] = {total.x, total.y, total.z, total.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float& weighted = weighted_[4 * i + j];
        weighted = sees[j / 2] ? MergeWeighted(before[j], weighted, factors[j / 2]) : before[j];
      }
    }
  }

  __device__ __forceinline__ void WritePartials(int split) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Row& row = rows_[half];
      if (row.token >= 0 && row.SeesAnyOf(split * kCudaSplitTokens, kCudaSplitTokens)) {
        const int first_split = VisibleBegin(args_.positions[row.token] + 1) / kCudaSplitTokens;
        const int64_t state_index = args_.plan.first_partials[row.token] + split - first_split;
        float* state = args_.partials + (state_index * args_.num_heads + row.head) * (kHeadDim + 2);
        if (lane_ % 4 == 0) *reinterpret_cast<float2*>(state) = make_float2(row.split.max, row.split.sum);
        WriteRow(
            half, [](float x) { return x; }, state + 2);
      }
      row.split = {};
    }
  }

  __device__ __forceinline__ void WriteOutput() const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Row& row = rows_[half];
      if (row.token < 0) continue;
      float* output = args_.output + row.token * args_.output_stride + row.head * kHeadDim;
      WriteRow(
          half, [&row](float x) { return __fdiv_rn(x, row.total.sum); }, output);
    }
  }

  // What `function` makes of the row's weighted values.
  template <typename Function>
  __device__ __forceinline__ void WriteRow(int half, Function function, float* to) const {
#pragma unroll
    for (int i = 0; i < kDimTiles; ++i) {
      const float* pair = weighted_ + 4 * i + 2 * half;
      *reinterpret_cast<float2*>(to + i * 8 + lane_ % 4 * 2) = make_float2(function(pair[0]), function(pair[1]));
    }
  }

  // The lane's part of a column of fragments.
  __device__ __forceinline__ float4& Total(int tile) const {
    return shared_.totals[row_group_][tile][threadIdx.x % kWarpgroupThreads];
  }
  // From the beginning of the chunk to the lane's i'th position.
  __device__ __forceinline__ int OffsetOf(int i) const { return i / 2 * 8 + lane_ % 4 * 2 + i % 2; }

  const CudaAttentionArgs& args_;
  const HopperAttentionParameters& parameters_;
  const CudaAttentionItem& item_;
  const int kv_head_;
  Shared& shared_;
  const int row_group_;
  const int lane_;
  Row rows_[2];
  int all_see_begin_;  // All of the warp's rows see these positions.
  int all_see_end_;
  float kept_[2];           // Of the weights at hand: by what the state before is multiplied;
  float sums_[2];           // the lane's part of their sum.
  bool is_unsound_;         // Whether the latest chunk has values kept as NaN.
  bool has_total_ = false;  // Whether shared_.totals has splits before the one at hand.
  uint32_t queries_[kHeadDim / 16][4];
  uint32_t weights_[kCudaChunkTokens / 16][4];
  float scores_[kPositionTiles * 4];  // Of a chunk; then its weights.
  float weighted_[kDimTiles * 4];     // The sums of weighted values of the split at hand.
};

#endif  // QUIRE_HOPPER_CODE

}  // namespace quire
