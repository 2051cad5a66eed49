// Attention kernels for K and V in bfloat16, as templates over V: Lanes and what each including file defines besides:
//   kAccumulators        how many Floats sums stay in registers, beside operands
//   kPartialSums         sums that share one score
//   Element              what queries and softmax weights are multiplied as: float, or bfloat16 as uint16_t
//   Narrow(x, p)         16 elements at p
//   Pairs, LoadPairs(p)  16 pairs of bfloat16; the two of a pair may belong to different tokens
//   AddPairs(e, pairs, sums), AddFirst, AddSecond
//                        sums + e[0] * first + e[1] * second of each pair; AddFirst and AddSecond leave out one of them,
//                        whatever it is
// WidenedPairs is such Elements and Pairs for those that multiply floats.
//
// Reduction orders: a score has kPartialSums sums, which take pairs of dimensions in turn, in ascending order, and are
// added as a tree; a weighted V adds tokens in ascending order.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention_kernels_impl.h"

namespace quire {
namespace {

constexpr int kBFloat16BlocksAhead = 4;
static_assert(kBFloat16BlocksAhead <= kAttentionBlocksAhead);

inline const uint16_t* Elements(const std::byte* block) { return reinterpret_cast<const uint16_t*>(block); }

struct WidenedPairs {
  using Element = float;
  struct Pairs {
    Floats first, second;
  };

  static void Narrow(Floats x, float* p) { Lanes::Store(x, p); }
  static Floats AddFirst(const float* e, const Pairs& pairs, Floats sums) {
    return Lanes::Fma(Lanes::Broadcast(e[0]), pairs.first, sums);
  }
  static Floats AddSecond(const float* e, const Pairs& pairs, Floats sums) {
    return Lanes::Fma(Lanes::Broadcast(e[1]), pairs.second, sums);
  }
  static Floats AddPairs(const float* e, const Pairs& pairs, Floats sums) {
    return AddSecond(e, pairs, AddFirst(e, pairs, sums));
  }
};

template <typename V>
void PrepareElements(const float* query, float factor, int head_dim, std::byte* prepared) {
  auto* elements = reinterpret_cast<typename V::Element*>(prepared);
  for (int dim = 0; dim < head_dim; dim += 16) {
    V::Narrow(Lanes::Mul(Lanes::Load(query + dim), Lanes::Broadcast(factor)), elements + dim);
  }
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
      const auto pairs = V::LoadPairs(keys + (dim + 2 * i) * kKvBlockTokens);
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

// Adds weight * value of tokens [begin, end), both even, to 16 * kVectors dimensions from `dim` of each row's state.
template <typename V, int kRows, int kVectors>
void WeightTile(const AttentionRow* rows, const typename V::Element (*weights)[kAttentionChunkTokens],
                const KvChunk& chunk, int dim, int begin, int end) {
  Floats sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sums[r][i] = Lanes::Load(rows[r].state->weighted + dim + i * 16);
  }
  for (int token = begin; token < end; token += 2) {
    const unsigned block = static_cast<unsigned>(token) / kKvBlockTokens;
    const unsigned offset = (static_cast<unsigned>(token) % kKvBlockTokens / 2 * chunk.head_dim + dim) * 2;
    const uint16_t* values = Elements(chunk.values[block]) + offset;
    const uint16_t* ahead = Elements(chunk.values[block + kBFloat16BlocksAhead]) + offset;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const auto pairs = V::LoadPairs(values + i * 32);
      Fetch(ahead + i * 32);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][i] = V::AddPairs(weights[r] + token, pairs, sums[r][i]);
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
void WeightPairs(const AttentionRow* rows, const typename V::Element (*weights)[kAttentionChunkTokens],
                 const KvChunk& chunk, int begin, int end, int dim = 0) {
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
  const uint16_t* values =
      Elements(chunk.values[token / kKvBlockTokens]) + token % kKvBlockTokens / 2 * chunk.head_dim * 2;
  const typename V::Element* pair_of_weights = weights + token / 2 * 2;
  for (int dim = 0; dim < chunk.head_dim; dim += 16) {
    const auto pairs = V::LoadPairs(values + dim * 2);
    const Floats sum = Lanes::Load(row.state->weighted + dim);
    Lanes::Store(token % 2 == 0 ? V::AddFirst(pair_of_weights, pairs, sum) : V::AddSecond(pair_of_weights, pairs, sum),
                 row.state->weighted + dim);
  }
}

// Tokens [begin, end) of one row.
template <typename V>
void WeightRow(const AttentionRow& row, const typename V::Element (*weights)[kAttentionChunkTokens],
               const KvChunk& chunk, int begin, int end) {
  if (begin < end && begin % 2 != 0) WeightSingle<V>(row, *weights, chunk, begin++);
  if (begin < end / 2 * 2) WeightPairs<V, 1>(&row, weights, chunk, begin, end / 2 * 2);
  if (begin < end && end % 2 != 0) WeightSingle<V>(row, *weights, chunk, end - 1);
}

template <typename V, int kRows>
void AttendBFloat16Rows(const KvChunk& chunk, const AttentionRow* rows) {
  int begin = rows[0].begin, end = rows[0].end;                // Visible to any row.
  int shared_begin = rows[0].begin, shared_end = rows[0].end;  // Visible to all.
  for (int r = 1; r < kRows; ++r) {
    begin = rows[r].begin < begin ? rows[r].begin : begin;
    end = rows[r].end > end ? rows[r].end : end;
    shared_begin = rows[r].begin > shared_begin ? rows[r].begin : shared_begin;
    shared_end = rows[r].end < shared_end ? rows[r].end : shared_end;
  }

  const typename V::Element* queries[kRows];
  for (int r = 0; r < kRows; ++r) queries[r] = reinterpret_cast<const typename V::Element*>(rows[r].query);
  alignas(64) float scores[kRows][kAttentionChunkTokens];
  alignas(64) typename V::Element weights[kRows][kAttentionChunkTokens];
  for (int block = begin / kKvBlockTokens; block * kKvBlockTokens < end; ++block) {
    ScoreBlock<V, kRows>(queries, chunk.head_dim, Elements(chunk.keys[block]),
                         Elements(chunk.keys[block + kBFloat16BlocksAhead]), scores[0] + block * kKvBlockTokens);
  }

  shared_begin = (shared_begin + 1) / 2 * 2;
  shared_end = shared_end / 2 * 2;
  const bool share = shared_begin < shared_end;
  for (int r = 0; r < kRows; ++r) {
    Softmax(rows[r].begin, rows[r].end, scores[r], rows[r].state);
    for (int token = rows[r].begin / kKvBlockTokens * kKvBlockTokens; token < rows[r].end; token += kKvBlockTokens) {
      V::Narrow(Lanes::Load(scores[r] + token), weights[r] + token);
    }
    for (int dim = 0; dim < chunk.head_dim; dim += 16) Lanes::Store(Lanes::Broadcast(0), rows[r].state->weighted + dim);
    WeightRow<V>(rows[r], weights + r, chunk, rows[r].begin, share ? shared_begin : rows[r].end);
  }
  if (!share) return;
  WeightPairs<V, kRows>(rows, weights, chunk, shared_begin, shared_end);
  for (int r = 0; r < kRows; ++r) WeightRow<V>(rows[r], weights + r, chunk, shared_end, rows[r].end);
}

template <typename V>
void AttendBFloat16(const KvChunk& chunk, const AttentionRow* rows, int num_rows) {
  static_assert(kAttentionMaxRows == 4);
  switch (num_rows) {
    case 1:
      return AttendBFloat16Rows<V, 1>(chunk, rows);
    case 2:
      return AttendBFloat16Rows<V, 2>(chunk, rows);
    case 3:
      return AttendBFloat16Rows<V, 3>(chunk, rows);
    case 4:
      return AttendBFloat16Rows<V, 4>(chunk, rows);
  }
}

template <typename V>
constexpr KvKernels kBFloat16Kernels = {PrepareElements<V>, AttendBFloat16<V>};

}  // namespace
}  // namespace quire
