// The attention kernels as templates over V, a vector of 16 floats; one source file for each instruction set defines V
// and includes this. Everything here is in an anonymous namespace and calls no library function, so that code compiled
// for a wide instruction set can never be linked in place of generic code.
//
// Reduction orders, which are part of Ops' arithmetic contract: a score adds dimensions in ascending order; a weighted
// V adds tokens in ascending order; sums over tokens go by lane (position modulo 16), then over lanes as a tree.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cpu/attention_kernels.h"

namespace quire {
namespace {

// Into the second cache level: the first has too few outstanding misses to keep memory busy.
inline void Fetch(const uint16_t* p) { __builtin_prefetch(p, /*rw=*/0, /*locality=*/2); }

// 2^x for x <= 0, to about one unit in the last place; 0 below 2^-100, which spares denormal products. NaN stays NaN.
template <typename V>
V Exp2(V x) {
  const V n = V::Round(x);
  const V f = V::Subtract(x, n);
  // Minimax polynomial of 2^f for |f| <= 1/2, relative error 2e-9, fitted with the constant term fixed by rounding
  // to 1.
  V y = V::Broadcast(1.5345811e-4f);
  y = V::MultiplyAdd(y, f, V::Broadcast(1.3399931e-3f));
  y = V::MultiplyAdd(y, f, V::Broadcast(9.618489e-3f));
  y = V::MultiplyAdd(y, f, V::Broadcast(5.5503286e-2f));
  y = V::MultiplyAdd(y, f, V::Broadcast(0.24022646f));
  y = V::MultiplyAdd(y, f, V::Broadcast(0.6931472f));
  y = V::MultiplyAdd(y, f, V::Broadcast(1.0f));
  return V::ZeroWhereLess(x, -100.0f, V::ScaleByPowerOf2(y, n));
}

template <typename V>
float Exp2Scalar(float x) {
  alignas(64) float lanes[16];
  V::Store(lanes, Exp2(V::Broadcast(x)));
  return lanes[0];
}

// scores[row][token] = query[row] . key[token] for one block. Each score has V::kPartialSums sums, which take pairs of
// dimensions in turn, so that one block at a time, read in the order of its memory, keeps the multipliers busy.
template <typename V, int kRows>
void ScoreBlock(const AttentionRow* rows, int head_dim, const uint16_t* keys, const uint16_t* ahead, float* scores) {
  V sums[kRows][V::kPartialSums];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < V::kPartialSums; ++i) sums[r][i] = V::Zero();
  }
  for (int dim = 0; dim < head_dim; dim += 2 * V::kPartialSums) {
#pragma GCC unroll 8
    for (int i = 0; i < V::kPartialSums; ++i) {
      V even, odd;
      V::LoadPairs(keys + (dim + 2 * i) * kKvBlockTokens, &even, &odd);
      Fetch(ahead + (dim + 2 * i) * kKvBlockTokens);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][i] = V::MultiplyAdd(V::Broadcast(rows[r].query[dim + 2 * i]), even, sums[r][i]);
        sums[r][i] = V::MultiplyAdd(V::Broadcast(rows[r].query[dim + 2 * i + 1]), odd, sums[r][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    for (int width = V::kPartialSums / 2; width > 0; width /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < width; ++i) sums[r][i] = V::Add(sums[r][i], sums[r][i + width]);
    }
    V::Store(scores + r * kAttentionChunkTokens, sums[r][0]);
  }
}

template <typename V, int kRows>
void Scores(const AttentionRow* rows, int head_dim, const uint16_t* const* keys, int begin_block, int end_block,
            float* scores) {
  for (int block = begin_block; block < end_block; ++block) {
    ScoreBlock<V, kRows>(rows, head_dim, keys[block], keys[block + kAttentionBlocksAhead],
                         scores + block * kKvBlockTokens);
  }
}

// Turns the scores of [begin, end) into weights.
template <typename V>
void Softmax(int begin, int end, float* scores, AttentionState* state) {
  const int first = begin / kKvBlockTokens * kKvBlockTokens;
  const int last = (end + kKvBlockTokens - 1) / kKvBlockTokens * kKvBlockTokens;
  for (int i = first; i < begin; ++i) scores[i] = -INFINITY;
  for (int i = end; i < last; ++i) scores[i] = -INFINITY;

  alignas(64) float lanes[16];
  V max = V::Broadcast(-INFINITY);
  for (int i = first; i < last; i += kKvBlockTokens) max = V::Max(V::Load(scores + i), max);
  V::Store(lanes, max);
  float max_score = lanes[0];
  for (int i = 1; i < 16; ++i) max_score = lanes[i] > max_score ? lanes[i] : max_score;

  const V shift = V::Broadcast(max_score);
  V sum = V::Zero();
  for (int i = first; i < last; i += kKvBlockTokens) {
    const V weights = Exp2(V::Subtract(V::Load(scores + i), shift));
    V::Store(scores + i, weights);
    sum = V::Add(sum, weights);
  }
  V::Store(lanes, sum);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  state->max_score = max_score;
  state->sum = lanes[0];
}

// weighted[row][dims] += weights[row][token] * value[token][dims] for tokens [begin, end), both even, and 16 * kVectors
// dimensions from `dim`.
template <typename V, int kRows, int kVectors>
void WeightTile(const AttentionRow* rows, const float* weights, int head_dim, int dim, const uint16_t* const* values,
                int begin, int end) {
  V sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sums[r][i] = V::Load(rows[r].state->weighted + dim + i * 16);
  }
  for (int token = begin; token < end; token += 2) {
    const unsigned block = static_cast<unsigned>(token) / kKvBlockTokens;
    const unsigned offset = (static_cast<unsigned>(token) % kKvBlockTokens / 2 * head_dim + dim) * 2;
    const uint16_t* pairs = values[block] + offset;
    const uint16_t* ahead = values[block + kAttentionBlocksAhead] + offset;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      V even, odd;
      V::LoadPairs(pairs + i * 32, &even, &odd);
      Fetch(ahead + i * 32);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][i] = V::MultiplyAdd(V::Broadcast(weights[r * kAttentionChunkTokens + token]), even, sums[r][i]);
        sums[r][i] = V::MultiplyAdd(V::Broadcast(weights[r * kAttentionChunkTokens + token + 1]), odd, sums[r][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) V::Store(rows[r].state->weighted + dim + i * 16, sums[r][i]);
  }
}

template <typename V, int kRows, int kVectors>
void WeightFrom(const AttentionRow* rows, const float* weights, int head_dim, int dim, const uint16_t* const* values,
                int begin, int end) {
  if constexpr (kRows * kVectors <= V::kAccumulators) {
    for (; dim + kVectors * 16 <= head_dim; dim += kVectors * 16) {
      WeightTile<V, kRows, kVectors>(rows, weights, head_dim, dim, values, begin, end);
    }
  }
  if constexpr (kVectors > 1) {
    WeightFrom<V, kRows, kVectors / 2>(rows, weights, head_dim, dim, values, begin, end);
  }
}

template <typename V, int kRows>
void WeightPairs(const AttentionRow* rows, const float* weights, int head_dim, const uint16_t* const* values, int begin,
                 int end) {
  if (begin < end) WeightFrom<V, kRows, 8>(rows, weights, head_dim, 0, values, begin, end);
}

// One token alone: half a pair, whose other half may hold anything.
template <typename V>
void WeightSingle(const AttentionRow& row, const float* weights, int head_dim, const uint16_t* const* values,
                  int token) {
  const uint16_t* pairs = values[token / kKvBlockTokens] + token % kKvBlockTokens / 2 * head_dim * 2;
  const V weight = V::Broadcast(weights[token]);
  for (int dim = 0; dim < head_dim; dim += 16) {
    V even, odd;
    V::LoadPairs(pairs + dim * 2, &even, &odd);
    const V sum = V::Load(row.state->weighted + dim);
    V::Store(row.state->weighted + dim, V::MultiplyAdd(weight, token % 2 == 0 ? even : odd, sum));
  }
}

// Tokens [begin, end) of one row.
template <typename V>
void WeightRow(const AttentionRow& row, const float* weights, int head_dim, const uint16_t* const* values, int begin,
               int end) {
  if (begin < end && begin % 2 != 0) WeightSingle<V>(row, weights, head_dim, values, begin++);
  WeightPairs<V, 1>(&row, weights, head_dim, values, begin, end / 2 * 2);
  if (begin < end && end % 2 != 0) WeightSingle<V>(row, weights, head_dim, values, end - 1);
}

template <typename V, int kRows>
void AttendRows(const KvChunk& chunk, AttentionRow* rows, float* scores) {
  const int head_dim = chunk.head_dim;
  int begin = rows[0].begin, end = rows[0].end;                // Visible to any row.
  int shared_begin = rows[0].begin, shared_end = rows[0].end;  // Visible to all.
  for (int r = 1; r < kRows; ++r) {
    begin = rows[r].begin < begin ? rows[r].begin : begin;
    end = rows[r].end > end ? rows[r].end : end;
    shared_begin = rows[r].begin > shared_begin ? rows[r].begin : shared_begin;
    shared_end = rows[r].end < shared_end ? rows[r].end : shared_end;
  }
  Scores<V, kRows>(rows, head_dim, chunk.keys, begin / kKvBlockTokens, (end + kKvBlockTokens - 1) / kKvBlockTokens,
                   scores);

  shared_begin = (shared_begin + 1) / 2 * 2;
  shared_end = shared_end / 2 * 2;
  const bool share = shared_begin < shared_end;
  for (int r = 0; r < kRows; ++r) {
    float* weights = scores + r * kAttentionChunkTokens;
    Softmax<V>(rows[r].begin, rows[r].end, weights, rows[r].state);
    for (int dim = 0; dim < head_dim; dim += 16) V::Store(rows[r].state->weighted + dim, V::Zero());
    WeightRow<V>(rows[r], weights, head_dim, chunk.values, rows[r].begin, share ? shared_begin : rows[r].end);
  }
  if (!share) return;
  WeightPairs<V, kRows>(rows, scores, head_dim, chunk.values, shared_begin, shared_end);
  for (int r = 0; r < kRows; ++r) {
    WeightRow<V>(rows[r], scores + r * kAttentionChunkTokens, head_dim, chunk.values, shared_end, rows[r].end);
  }
}

template <typename V>
void Attend(const KvChunk& chunk, AttentionRow* rows, int num_rows, float* scores) {
  static_assert(kAttentionMaxRows == 4);
  switch (num_rows) {
    case 1:
      return AttendRows<V, 1>(chunk, rows, scores);
    case 2:
      return AttendRows<V, 2>(chunk, rows, scores);
    case 3:
      return AttendRows<V, 3>(chunk, rows, scores);
    case 4:
      return AttendRows<V, 4>(chunk, rows, scores);
  }
}

template <typename V>
void Merge(const AttentionState& next, int head_dim, AttentionState* state) {
  const float max_score = next.max_score > state->max_score ? next.max_score : state->max_score;
  const float scale = Exp2Scalar<V>(state->max_score - max_score);
  const float next_scale = Exp2Scalar<V>(next.max_score - max_score);
  for (int dim = 0; dim < head_dim; dim += 16) {
    const V scaled = V::Multiply(V::Load(state->weighted + dim), V::Broadcast(scale));
    V::Store(state->weighted + dim, V::MultiplyAdd(V::Load(next.weighted + dim), V::Broadcast(next_scale), scaled));
  }
  state->sum = state->sum * scale + next.sum * next_scale;
  state->max_score = max_score;
}

template <typename V>
void Finish(const AttentionState& state, int head_dim, float* output) {
  const V factor = V::Broadcast(1.0f / state.sum);
  for (int dim = 0; dim < head_dim; dim += 16) {
    V::Store(output + dim, V::Multiply(V::Load(state.weighted + dim), factor));
  }
}

template <typename V>
constexpr AttentionKernels MakeAttentionKernels() {
  return {Attend<V>, Merge<V>, Finish<V>};
}

}  // namespace
}  // namespace quire
