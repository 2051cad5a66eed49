// The attention kernels as templates over V: Lanes (16 floats in the registers of one instruction set) and what
// attention needs besides, which each including file defines:
//   kAccumulators     how many Floats sums stay in registers, beside operands
//   kPartialSums      sums that share one score
//   Element, Pairs    what queries and weights are rounded to; 16 pairs of elements of K or V
//   Narrow(x, p)      stores x as 16 Elements; returns what was stored
//   LoadPairs(p)      16 pairs of bfloat16
//   AddPairs(e, pairs, sums)    sums + e[0] * first of each pair + e[1] * second
//   AddFirst, AddSecond         the same with one of a pair only; the other may be NaN
// Everything here is in an anonymous namespace and calls no library function, so that code compiled for a wide
// instruction set can never be linked in place of generic code.
//
// Reduction orders, which are part of Ops' arithmetic contract: a score has kPartialSums sums, which take pairs of
// dimensions in turn, in ascending order, and are added as a tree; a weighted V adds tokens in ascending order; sums
// over tokens go by lane (position modulo 16), then over lanes as a tree.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/attention_kernels.h"

namespace quire {
namespace {

using Floats = Lanes::Floats;

// Into the second cache level: the first has too few outstanding misses to keep memory busy.
inline void Fetch(const uint16_t* p) { __builtin_prefetch(p, /*rw=*/0, /*locality=*/2); }

// 2^x for x <= 0, to about one unit in the last place; 0 below 2^-100, which spares denormal products. NaN stays NaN.
inline Floats Exp2(Floats x) {
  const Lanes::Ints n = Lanes::Round(x);
  const Floats f = Lanes::Fma(Lanes::ToFloats(n), Lanes::Broadcast(-1), x);
  // Minimax polynomial of 2^f for |f| <= 1/2, relative error 2e-9 before rounding.
  Floats y = Lanes::Broadcast(1.5345811e-4f);
  y = Lanes::Fma(y, f, Lanes::Broadcast(1.3399931e-3f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(9.618489e-3f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(5.5503286e-2f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(0.24022646f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(0.6931472f));
  y = Lanes::Fma(y, f, Lanes::Broadcast(1));
  const Lanes::Ints exponent = Lanes::AddInt(n, Lanes::BroadcastInt(127));
  return Lanes::ZeroWhereLess(x, -100, Lanes::Mul(y, Lanes::AsFloats(Lanes::ShiftLeft<23>(exponent))));
}

inline float Exp2Scalar(float x) {
  float lanes[16];
  Lanes::Store(Exp2(Lanes::Broadcast(x)), lanes);
  return lanes[0];
}

// scores[row][token] = query[row] . key[token] for one block, read in the order of its memory.
template <typename V, int kRows>
void ScoreBlock(const typename V::Element* const* queries, int head_dim, const uint16_t* keys, const uint16_t* ahead,
                float* scores) {
  Floats sums[kRows][V::kPartialSums];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < V::kPartialSums; ++i) sums[r][i] = Lanes::Broadcast(0);
  }
  for (int dim = 0; dim < head_dim; dim += 2 * V::kPartialSums) {
#pragma GCC unroll 8
    for (int i = 0; i < V::kPartialSums; ++i) {
      const typename V::Pairs pairs = V::LoadPairs(keys + (dim + 2 * i) * kKvBlockTokens);
      Fetch(ahead + (dim + 2 * i) * kKvBlockTokens);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][i] = V::AddPairs(queries[r] + dim + 2 * i, pairs, sums[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int width = V::kPartialSums / 2; width > 0; width /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < width; ++i) sums[r][i] = Lanes::Add(sums[r][i], sums[r][i + width]);
    }
    Lanes::Store(sums[r][0], scores + r * kAttentionChunkTokens);
  }
}

// weights = 2^(score - max) for tokens [begin, end), 0 for others of the same blocks.
template <typename V>
void Softmax(int begin, int end, float* scores, typename V::Element* weights, AttentionState* state) {
  const int first = begin / kKvBlockTokens * kKvBlockTokens;
  const int last = (end + kKvBlockTokens - 1) / kKvBlockTokens * kKvBlockTokens;
  for (int i = first; i < begin; ++i) scores[i] = -INFINITY;
  for (int i = end; i < last; ++i) scores[i] = -INFINITY;

  float lanes[16];
  Floats max = Lanes::Broadcast(-INFINITY);
  for (int i = first; i < last; i += kKvBlockTokens) max = Lanes::Max(Lanes::Load(scores + i), max);
  Lanes::Store(max, lanes);
  float max_score = lanes[0];
  for (int i = 1; i < 16; ++i) max_score = lanes[i] > max_score ? lanes[i] : max_score;

  const Floats shift = Lanes::Broadcast(-max_score);
  Floats sum = Lanes::Broadcast(0);
  for (int i = first; i < last; i += kKvBlockTokens) {
    // The sum is of the weights as they are used, after rounding.
    sum = Lanes::Add(sum, V::Narrow(Exp2(Lanes::Add(Lanes::Load(scores + i), shift)), weights + i));
  }
  Lanes::Store(sum, lanes);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  state->max_score = max_score;
  state->sum = lanes[0];
}

// Adds weight * value of tokens [begin, end), both even, to 16 * kVectors dimensions from `dim` of each row's state.
template <typename V, int kRows, int kVectors>
void WeightTile(const AttentionRow* rows, const typename V::Element* weights, const KvChunk& chunk, int dim, int begin,
                int end) {
  Floats sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sums[r][i] = Lanes::Load(rows[r].state->weighted + dim + i * 16);
  }
  for (int token = begin; token < end; token += 2) {
    const unsigned block = static_cast<unsigned>(token) / kKvBlockTokens;
    const unsigned offset = (static_cast<unsigned>(token) % kKvBlockTokens / 2 * chunk.head_dim + dim) * 2;
    const uint16_t* values = chunk.values[block] + offset;
    const uint16_t* ahead = chunk.values[block + kAttentionBlocksAhead] + offset;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const typename V::Pairs pairs = V::LoadPairs(values + i * 32);
      Fetch(ahead + i * 32);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][i] = V::AddPairs(weights + r * kAttentionChunkTokens + token, pairs, sums[r][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) Lanes::Store(sums[r][i], rows[r].state->weighted + dim + i * 16);
  }
}

// The same for all dimensions from `dim`, in tiles as wide as registers allow.
template <typename V, int kRows, int kVectors = 8>
void WeightPairs(const AttentionRow* rows, const typename V::Element* weights, const KvChunk& chunk, int begin, int end,
                 int dim = 0) {
  if constexpr (kRows * kVectors <= V::kAccumulators) {
    for (; dim + kVectors * 16 <= chunk.head_dim; dim += kVectors * 16) {
      WeightTile<V, kRows, kVectors>(rows, weights, chunk, dim, begin, end);
    }
  }
  if constexpr (kVectors > 1) WeightPairs<V, kRows, kVectors / 2>(rows, weights, chunk, begin, end, dim);
}

// One token, half a pair.
template <typename V>
void WeightSingle(const AttentionRow& row, const typename V::Element* weights, const KvChunk& chunk, int token) {
  const uint16_t* values = chunk.values[token / kKvBlockTokens] + token % kKvBlockTokens / 2 * chunk.head_dim * 2;
  const typename V::Element* pair_of_weights = weights + token / 2 * 2;
  for (int dim = 0; dim < chunk.head_dim; dim += 16) {
    const typename V::Pairs pairs = V::LoadPairs(values + dim * 2);
    const Floats sum = Lanes::Load(row.state->weighted + dim);
    Lanes::Store(token % 2 == 0 ? V::AddFirst(pair_of_weights, pairs, sum) : V::AddSecond(pair_of_weights, pairs, sum),
                 row.state->weighted + dim);
  }
}

// Tokens [begin, end) of one row.
template <typename V>
void WeightRow(const AttentionRow& row, const typename V::Element* weights, const KvChunk& chunk, int begin, int end) {
  if (begin < end && begin % 2 != 0) WeightSingle<V>(row, weights, chunk, begin++);
  if (begin < end / 2 * 2) WeightPairs<V, 1>(&row, weights, chunk, begin, end / 2 * 2);
  if (begin < end && end % 2 != 0) WeightSingle<V>(row, weights, chunk, end - 1);
}

template <typename V, int kRows>
void AttendRows(const KvChunk& chunk, const AttentionRow* rows) {
  using Element = typename V::Element;
  int begin = rows[0].begin, end = rows[0].end;                // Visible to any row.
  int shared_begin = rows[0].begin, shared_end = rows[0].end;  // Visible to all.
  for (int r = 1; r < kRows; ++r) {
    begin = rows[r].begin < begin ? rows[r].begin : begin;
    end = rows[r].end > end ? rows[r].end : end;
    shared_begin = rows[r].begin > shared_begin ? rows[r].begin : shared_begin;
    shared_end = rows[r].end < shared_end ? rows[r].end : shared_end;
  }

  alignas(64) Element narrowed[kRows][kMaxHeadDim];
  const Element* queries[kRows];
  for (int r = 0; r < kRows; ++r) {
    if constexpr (std::is_same_v<Element, float>) {
      queries[r] = rows[r].query;
    } else {
      for (int dim = 0; dim < chunk.head_dim; dim += 16) V::Narrow(Lanes::Load(rows[r].query + dim), narrowed[r] + dim);
      queries[r] = narrowed[r];
    }
  }
  alignas(64) float scores[kRows][kAttentionChunkTokens];
  for (int block = begin / kKvBlockTokens; block * kKvBlockTokens < end; ++block) {
    ScoreBlock<V, kRows>(queries, chunk.head_dim, chunk.keys[block], chunk.keys[block + kAttentionBlocksAhead],
                         scores[0] + block * kKvBlockTokens);
  }

  shared_begin = (shared_begin + 1) / 2 * 2;
  shared_end = shared_end / 2 * 2;
  const bool share = shared_begin < shared_end;
  alignas(64) Element weights[kRows][kAttentionChunkTokens];
  for (int r = 0; r < kRows; ++r) {
    Softmax<V>(rows[r].begin, rows[r].end, scores[r], weights[r], rows[r].state);
    for (int dim = 0; dim < chunk.head_dim; dim += 16) Lanes::Store(Lanes::Broadcast(0), rows[r].state->weighted + dim);
    WeightRow<V>(rows[r], weights[r], chunk, rows[r].begin, share ? shared_begin : rows[r].end);
  }
  if (!share) return;
  WeightPairs<V, kRows>(rows, weights[0], chunk, shared_begin, shared_end);
  for (int r = 0; r < kRows; ++r) WeightRow<V>(rows[r], weights[r], chunk, shared_end, rows[r].end);
}

template <typename V>
void Attend(const KvChunk& chunk, const AttentionRow* rows, int num_rows) {
  static_assert(kAttentionMaxRows == 4);
  switch (num_rows) {
    case 1:
      return AttendRows<V, 1>(chunk, rows);
    case 2:
      return AttendRows<V, 2>(chunk, rows);
    case 3:
      return AttendRows<V, 3>(chunk, rows);
    case 4:
      return AttendRows<V, 4>(chunk, rows);
  }
}

inline void Merge(const AttentionState& next, int head_dim, AttentionState* state) {
  const float max_score = next.max_score > state->max_score ? next.max_score : state->max_score;
  const float scale = Exp2Scalar(state->max_score - max_score);
  const float next_scale = Exp2Scalar(next.max_score - max_score);
  for (int dim = 0; dim < head_dim; dim += 16) {
    const Floats scaled = Lanes::Mul(Lanes::Load(state->weighted + dim), Lanes::Broadcast(scale));
    const Floats merged = Lanes::Fma(Lanes::Load(next.weighted + dim), Lanes::Broadcast(next_scale), scaled);
    Lanes::Store(merged, state->weighted + dim);
  }
  state->sum = state->sum * scale + next.sum * next_scale;
  state->max_score = max_score;
}

inline void Finish(const AttentionState& state, int head_dim, float* output) {
  const Floats factor = Lanes::Broadcast(1 / state.sum);
  for (int dim = 0; dim < head_dim; dim += 16) {
    Lanes::Store(Lanes::Mul(Lanes::Load(state.weighted + dim), factor), output + dim);
  }
}

template <typename V>
constexpr AttentionKernels MakeAttentionKernels(const char* name) {
  return {name, Attend<V>, Merge, Finish};
}

// What a V has in common with others whose elements are floats: PairsOfFloats are two Floats, first and second.
struct FloatElements : Lanes {
  using Element = float;
  struct Pairs {
    Floats first, second;
  };

  static Floats Narrow(Floats x, float* p) {
    Store(x, p);
    return x;
  }
  static Floats AddFirst(const float* e, const Pairs& pairs, Floats sums) {
    return Fma(Broadcast(e[0]), pairs.first, sums);
  }
  static Floats AddSecond(const float* e, const Pairs& pairs, Floats sums) {
    return Fma(Broadcast(e[1]), pairs.second, sums);
  }
  static Floats AddPairs(const float* e, const Pairs& pairs, Floats sums) {
    return AddSecond(e, pairs, AddFirst(e, pairs, sums));
  }
};

}  // namespace
}  // namespace quire
