// Attention kernels for K and V in codes, of int8 and in general, as templates over Q: Lanes and what each including
// file defines besides:
//   kAccumulators           how many Sums stay in registers, beside operands
//   Codes, LoadCodes(p)     16 quads of codes, as they lie in a block
//   LoadLevels(p, codes)    codes[0] and codes[1], kCentredLevels of the low and of the high halves of 64 bytes
//   Sums, Zero()            16 dot products in the making
//   PackWords(x, words)     16 integers of 16 bits as 4 quads, of two words each
//   AddQuad(words, codes, sums)    sums + the products of a quad of integers and each quad of codes
//   Total(sums)             the dot products
//   Butterfly<stride>(x)    x[i] + x[i + stride] and x[i] - x[i + stride] in place of either pair, stride below 16
//   ShiftUp<count>(x)       x[i - count], 0 where there is none, count 1, 2, 4 or 8
//
// Queries, and weights times V's scales, are rounded to 16 bits, one scale for a row: 256 * upper + lower, two signed
// bytes. Both dot products, over dimensions and over a chunk's tokens, are then exact in any order; floats only scale
// the results:
//   score = (dot * scale_k) * scale_q,  weighted V = dot * scale_of_weights
// What K and V are made of comes as types Keys and Values, for int8 the ones here.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention_kernels_impl.h"

namespace quire {
namespace {

using Ints = Lanes::Ints;

// What the codes of int4 stand for, as the codes of int8 are stored.
struct CentredLevels {
  alignas(16) uint8_t of[16];
};
constexpr CentredLevels kCentredLevels = [] {
  CentredLevels levels = {};
  for (int code = 0; code < 16; ++code) levels.of[code] = static_cast<uint8_t>(kInt8KvCentre + kInt4KvLevels[code]);
  return levels;
}();

// Integers go up to this, so that the upper byte does to 127. 256 products with codes fit 32 bits.
constexpr float kMaxInteger = 127 * 256;
constexpr int kWordsPerQuad = 2;

struct Rounding {
  float scale;  // Of the integers.
  int32_t sum;  // Of the integers.
};

// Rounds x[0 .. count), count being a multiple of 16, whose greatest magnitude has the bits `max_bits`. Compared as
// bits magnitudes are in order, infinity and NaN the greatest, so that neither can be lost: they make the scale NaN.
template <typename Q>
Rounding RoundRow(const float* x, int count, int32_t max_bits, int32_t* words) {
  constexpr int32_t kInfinityBits = 0x7f800000;
  if (max_bits >= kInfinityBits) [[unlikely]] {
    for (int i = 0; i < count; i += 16) Q::PackWords(Lanes::BroadcastInt(0), words + i / 4 * kWordsPerQuad);
    return {__builtin_nanf(""), 0};
  }
  float max;
  __builtin_memcpy(&max, &max_bits, sizeof(max));
  // The reciprocal of what is smaller would overflow; such a row counts as zeros.
  const Floats inverse = Lanes::Broadcast(max > 1e-33f ? kMaxInteger / max : 0);
  Ints sum = Lanes::BroadcastInt(0);
  for (int i = 0; i < count; i += 16) {
    const Ints integers = Lanes::Round(Lanes::Mul(Lanes::Load(x + i), inverse));
    sum = Lanes::AddInt(sum, integers);
    Q::PackWords(integers, words + i / 4 * kWordsPerQuad);
  }
  return {max * (1 / kMaxInteger), Lanes::ReduceAdd(sum)};
}

// The length of the parts that kernels/cpu/kv_rotation.h speaks of.
constexpr int PartOf(int head_dim) { return head_dim & -head_dim; }

// As RotateKey does, which adds and subtracts in the same order.
template <typename Q>
void Rotate(int head_dim, float* query) {
  const int part = PartOf(head_dim);
  for (int dim = 0; dim < head_dim; dim += 16) {
    Floats x = Lanes::Load(query + dim);
    x = Q::template Butterfly<2>(Q::template Butterfly<1>(x));
    x = Q::template Butterfly<8>(Q::template Butterfly<4>(x));
    Lanes::Store(x, query + dim);
  }
  for (int stride = 16; stride < part; stride *= 2) {
    for (int dim = 0; dim < head_dim; dim += 16) {
      if (dim & stride) continue;
      const Floats x = Lanes::Load(query + dim), y = Lanes::Load(query + dim + stride);
      Lanes::Store(Lanes::Add(x, y), query + dim);
      Lanes::Store(Lanes::Fma(y, Lanes::Broadcast(-1), x), query + dim + stride);
    }
  }
}

// A prepared query: its rounding, then its words.
template <typename Q>
void PrepareIntegers(const float* query, float factor, int head_dim, std::byte* prepared) {
  alignas(64) float scaled[kMaxHeadDim];
  const Floats factors = Lanes::Broadcast(factor / static_cast<float>(PartOf(head_dim)));
  for (int dim = 0; dim < head_dim; dim += 16) {
    Lanes::Store(Lanes::Mul(Lanes::Load(query + dim), factors), scaled + dim);
  }
  Rotate<Q>(head_dim, scaled);
  Ints max_bits = Lanes::BroadcastInt(0);
  for (int dim = 0; dim < head_dim; dim += 16) {
    max_bits = Lanes::MaxInt(max_bits, Lanes::MagnitudeBits(Lanes::Load(scaled + dim)));
  }
  const Rounding rounding = RoundRow<Q>(scaled, head_dim, Lanes::ReduceMax(max_bits),
                                        reinterpret_cast<int32_t*>(prepared + sizeof(Rounding)));
  __builtin_memcpy(prepared, &rounding, sizeof(rounding));
}

struct IntegerQuery {
  Rounding rounding;
  const int32_t* words;
};

inline IntegerQuery QueryOf(const AttentionRow& row) {
  IntegerQuery query;
  __builtin_memcpy(&query.rounding, row.query, sizeof(query.rounding));
  query.words = reinterpret_cast<const int32_t*>(row.query + sizeof(Rounding));
  return query;
}

// The integer dot products with codes that have kInt8KvCentre added, as those with the codes themselves.
inline Ints Centred(Ints dots, const Rounding& rounding) {
  return Lanes::AddInt(dots, Lanes::BroadcastInt(-kInt8KvCentre * rounding.sum));
}

inline Floats LoadScales(const std::byte* block, int head_dim) {
  return Lanes::Load(reinterpret_cast<const float*>(block + head_dim * kKvBlockTokens));
}

// How many quads of each token (K), or vectors of dimensions (V), 64 bytes hold.
template <typename Q>
struct Int8Codes {
  static constexpr int kPerLoad = 1;
  static void Load(const std::byte* p, typename Q::Codes* codes) { codes[0] = Q::LoadCodes(p); }
};

template <typename Q>
struct Int8Keys : Int8Codes<Q> {
  using Factors = Floats;  // Of a block's 16 tokens.
  static Factors LoadFactors(const std::byte* keys, int head_dim) { return LoadScales(keys, head_dim); }
  static Floats Score(const typename Q::Sums& sums, Floats scales, const Rounding& query) {
    const Floats dots = Lanes::ToFloats(Centred(Q::Total(sums), query));
    return Lanes::Mul(Lanes::Mul(dots, scales), Lanes::Broadcast(query.scale));
  }
};

// scores[row][token] = query[row] . key[token] for one block, read in the order of its memory.
template <typename Q, typename Keys, int kRows>
void ScoreBlock(const IntegerQuery* queries, int head_dim, const std::byte* keys, const std::byte* ahead,
                float* scores) {
  constexpr int kPerLoad = Keys::kPerLoad;
  typename Q::Sums sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = Q::Zero();
  const int num_loads = head_dim / (4 * kPerLoad);
  for (int load = 0; load < num_loads; ++load) {
    typename Q::Codes codes[kPerLoad];
    Keys::Load(keys + load * 64, codes);
    Fetch(ahead + load * 64);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const int32_t* words = queries[r].words + load * kPerLoad * kWordsPerQuad;
#pragma GCC unroll 2
      for (int j = 0; j < kPerLoad; ++j) sums[r] = Q::AddQuad(words + j * kWordsPerQuad, codes[j], sums[r]);
    }
  }
  Fetch(ahead + num_loads * 64);
  const typename Keys::Factors factors = Keys::LoadFactors(keys, head_dim);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    Lanes::Store(Keys::Score(sums[r], factors, queries[r].rounding), scores + r * kAttentionChunkTokens);
  }
}

constexpr float kLeastWeight = 1e-38f;  // Below all but 0, that of a token that is not seen.
constexpr int kWordsPerChunk = kAttentionChunkTokens / 4 * kWordsPerQuad;

template <typename Q>
struct Int8Values : Int8Codes<Q> {
  using Weights = Rounding;  // What is known of a row's weights, beside their words.
  static Floats Weighted(const typename Q::Sums& sums, const Weights& weights) {
    return Lanes::Mul(Lanes::ToFloats(Centred(Q::Total(sums), weights)), Lanes::Broadcast(weights.scale));
  }

  // Rounds weights times V's scales for the tokens that the row sees, to 0 for all others of blocks [begin_block,
  // end_block), whose scales may be anything.
  static Weights Round(const KvChunk& chunk, const AttentionRow& row, int begin_block, int end_block, float* weights,
                       int32_t* words) {
    const int first = row.begin / kKvBlockTokens, last = (row.end + kKvBlockTokens - 1) / kKvBlockTokens;
    Ints max_bits = Lanes::BroadcastInt(0);
    for (int block = begin_block; block < end_block; ++block) {
      float* x = weights + block * kKvBlockTokens;
      Floats scaled = Lanes::Broadcast(0);
      if (block >= first && block < last) {
        const Floats weight = Lanes::Load(x);
        scaled = Lanes::ZeroWhereLess(weight, kLeastWeight,
                                      Lanes::Mul(weight, LoadScales(chunk.values[block], chunk.head_dim)));
      }
      max_bits = Lanes::MaxInt(max_bits, Lanes::MagnitudeBits(scaled));
      Lanes::Store(scaled, x);
    }
    return RoundRow<Q>(weights + begin_block * kKvBlockTokens, (end_block - begin_block) * kKvBlockTokens,
                       Lanes::ReduceMax(max_bits), words + begin_block * kKvBlockTokens / 4 * kWordsPerQuad);
  }
};

// The weighted V of each row, in 16 * kVectors dimensions from `dim`.
template <typename Q, typename Values, int kRows, int kVectors>
void WeightCodes(const AttentionRow* rows, const int32_t (*words)[kWordsPerChunk],
                 const typename Values::Weights* weights, const KvChunk& chunk, int begin_block, int end_block,
                 int dim) {
  constexpr int kPerLoad = Values::kPerLoad;
  typename Q::Sums sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sums[r][i] = Q::Zero();
  }
  for (int block = begin_block; block < end_block; ++block) {
    for (int quad = 0; quad < kKvBlockTokens / 4; ++quad) {
      const int offset = (quad * chunk.head_dim + dim) * 4 / kPerLoad;
      const std::byte* values = chunk.values[block] + offset;
      const std::byte* ahead = chunk.values[block + kAttentionBlocksAhead] + offset;
      const int word = (block * (kKvBlockTokens / 4) + quad) * kWordsPerQuad;
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; i += kPerLoad) {
        typename Q::Codes codes[kPerLoad];
        Values::Load(values + i / kPerLoad * 64, codes);
        Fetch(ahead + i / kPerLoad * 64);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
          for (int j = 0; j < kPerLoad; ++j) sums[r][i + j] = Q::AddQuad(words[r] + word, codes[j], sums[r][i + j]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      Lanes::Store(Values::Weighted(sums[r][i], weights[r]), rows[r].state->weighted + dim + i * 16);
    }
  }
}

// The same for all dimensions from `dim`, in tiles as wide as registers allow.
template <typename Q, typename Values, int kRows, int kVectors = 8>
void WeightAllCodes(const AttentionRow* rows, const int32_t (*words)[kWordsPerChunk],
                    const typename Values::Weights* weights, const KvChunk& chunk, int begin_block, int end_block,
                    int dim = 0) {
  constexpr bool kLast = kVectors == Values::kPerLoad;
  if constexpr (kRows * kVectors <= Q::kAccumulators || kLast) {
    for (; dim + kVectors * 16 <= chunk.head_dim; dim += kVectors * 16) {
      WeightCodes<Q, Values, kRows, kVectors>(rows, words, weights, chunk, begin_block, end_block, dim);
    }
  }
  if constexpr (!kLast) {
    WeightAllCodes<Q, Values, kRows, kVectors / 2>(rows, words, weights, chunk, begin_block, end_block, dim);
  }
}

template <typename Q, typename Keys, typename Values, int kRows>
void AttendCodesRows(const KvChunk& chunk, const AttentionRow* rows) {
  int begin = rows[0].begin, end = rows[0].end;  // Visible to any row.
  for (int r = 1; r < kRows; ++r) {
    begin = rows[r].begin < begin ? rows[r].begin : begin;
    end = rows[r].end > end ? rows[r].end : end;
  }
  const int begin_block = begin / kKvBlockTokens;
  const int end_block = (end + kKvBlockTokens - 1) / kKvBlockTokens;

  alignas(64) float scores[kRows][kAttentionChunkTokens];
  IntegerQuery queries[kRows];
  for (int r = 0; r < kRows; ++r) queries[r] = QueryOf(rows[r]);
  for (int block = begin_block; block < end_block; ++block) {
    ScoreBlock<Q, Keys, kRows>(queries, chunk.head_dim, chunk.keys[block], chunk.keys[block + kAttentionBlocksAhead],
                               scores[0] + block * kKvBlockTokens);
  }
  alignas(64) int32_t words[kRows][kWordsPerChunk];
  typename Values::Weights weights[kRows];
  for (int r = 0; r < kRows; ++r) {
    Softmax(rows[r].begin, rows[r].end, scores[r], rows[r].state);
    weights[r] = Values::Round(chunk, rows[r], begin_block, end_block, scores[r], words[r]);
  }
  WeightAllCodes<Q, Values, kRows>(rows, words, weights, chunk, begin_block, end_block);
}

template <typename Q, typename Keys, typename Values>
void AttendCodes(const KvChunk& chunk, const AttentionRow* rows, int num_rows) {
  static_assert(kAttentionMaxRows == 4);
  switch (num_rows) {
    case 1:
      return AttendCodesRows<Q, Keys, Values, 1>(chunk, rows);
    case 2:
      return AttendCodesRows<Q, Keys, Values, 2>(chunk, rows);
    case 3:
      return AttendCodesRows<Q, Keys, Values, 3>(chunk, rows);
    case 4:
      return AttendCodesRows<Q, Keys, Values, 4>(chunk, rows);
  }
}

template <typename Q>
constexpr KvKernels kInt8Kernels = {PrepareIntegers<Q>, AttendCodes<Q, Int8Keys<Q>, Int8Values<Q>>};

}  // namespace
}  // namespace quire
