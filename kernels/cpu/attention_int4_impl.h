// Attention kernels for K, V or both in int4, as templates over Q, of which attention_int8_impl.h tells.
//
// A token's V is level * scale + middle in all rotated dimensions. So weights times scales are rounded and multiplied
// with levels as with the codes of int8, exactly, and the middles add one number to all dimensions:
//   weighted V = dot * scale_of_weights + sum(weight * middle)
// That sum goes by lane (position modulo 16), then over lanes as a tree. A key's difference from its prediction is kept
// in the same way (kernels/cpu/kv_block.h):
//   d = (dot * scale + sum_of_query * middle) * scale_of_query,  score = d + the block's earlier gain * d
// where the sum over earlier tokens is one over lanes, in four steps of 1, 2, 4 and 8.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention_int8_impl.h"

namespace quire {
namespace {

inline const uint16_t* Int4Scales(const std::byte* block, int head_dim) {
  return reinterpret_cast<const uint16_t*>(block + head_dim * kKvBlockTokens / 2);
}
inline Floats Int4Middles(const std::byte* block, int head_dim) {
  return Lanes::LoadBFloat16(Int4Scales(block, head_dim) + kKvBlockTokens);
}

// Of lane i, the sum of gain * x of the lanes before it, added to x; a NaN does not reach the lanes before it.
template <typename Q>
Floats AddPredictions(Floats x) {
  alignas(64) constexpr float kGains[16] = {1, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5, .5};
  Floats sum = Q::template ShiftUp<1>(Lanes::Mul(x, Lanes::Load(kGains)));
  sum = Lanes::Add(sum, Q::template ShiftUp<1>(sum));
  sum = Lanes::Add(sum, Q::template ShiftUp<2>(sum));
  sum = Lanes::Add(sum, Q::template ShiftUp<4>(sum));
  sum = Lanes::Add(sum, Q::template ShiftUp<8>(sum));
  return Lanes::Add(x, sum);
}
static_assert(KeyPredictionGain(0) == 1 && KeyPredictionGain(1) == .5f && KeyPredictionGain(15) == .5f);

template <typename Q>
struct Int4Codes {
  static constexpr int kPerLoad = 2;
  static void Load(const std::byte* p, typename Q::Codes* codes) { Q::LoadLevels(p, codes); }
};

template <typename Q>
struct Int4Keys : Int4Codes<Q> {
  struct Factors {  // Of a block's 16 tokens.
    Floats scales;
    Floats middles;
  };
  static Factors LoadFactors(const std::byte* keys, int head_dim) {
    return {Lanes::LoadBFloat16(Int4Scales(keys, head_dim)), Int4Middles(keys, head_dim)};
  }
  static Floats Score(const typename Q::Sums& sums, const Factors& factors, const Rounding& query) {
    const Ints dots = Centred(Q::Total(sums), query);
    const Floats of_middles = Lanes::Mul(factors.middles, Lanes::Broadcast(static_cast<float>(query.sum)));
    const Floats differences = Lanes::Mul(Lanes::Fma(Lanes::ToFloats(dots), factors.scales, of_middles),
                                          Lanes::Broadcast(query.scale));
    return AddPredictions<Q>(differences);
  }
};

template <typename Q>
struct Int4Values : Int4Codes<Q> {
  struct Weights {
    Rounding rounding;
    float middle;  // Weighted, of all tokens.
  };

  static Floats Weighted(const typename Q::Sums& sums, const Weights& weights) {
    const Floats dots = Lanes::ToFloats(Centred(Q::Total(sums), weights.rounding));
    return Lanes::Fma(dots, Lanes::Broadcast(weights.rounding.scale), Lanes::Broadcast(weights.middle));
  }

  // As Int8Values does.
  static Weights Round(const KvChunk& chunk, const AttentionRow& row, int begin_block, int end_block, float* weights,
                       int32_t* words) {
    const int first = row.begin / kKvBlockTokens, last = (row.end + kKvBlockTokens - 1) / kKvBlockTokens;
    Ints max_bits = Lanes::BroadcastInt(0);
    Floats middles = Lanes::Broadcast(0);
    for (int block = begin_block; block < end_block; ++block) {
      float* x = weights + block * kKvBlockTokens;
      Floats scaled = Lanes::Broadcast(0);
      if (block >= first && block < last) {
        const std::byte* values = chunk.values[block];
        const Floats weight = Lanes::Load(x);
        const auto of_seen = [&](Floats of_token) {
          return Lanes::ZeroWhereLess(weight, kLeastWeight, Lanes::Mul(weight, of_token));
        };
        scaled = of_seen(Lanes::LoadBFloat16(Int4Scales(values, chunk.head_dim)));
        middles = Lanes::Add(middles, of_seen(Int4Middles(values, chunk.head_dim)));
      }
      max_bits = Lanes::MaxInt(max_bits, Lanes::MagnitudeBits(scaled));
      Lanes::Store(scaled, x);
    }
    const Rounding rounding =
        RoundRow<Q>(weights + begin_block * kKvBlockTokens, (end_block - begin_block) * kKvBlockTokens,
                    Lanes::ReduceMax(max_bits), words + begin_block * kKvBlockTokens / 4 * kWordsPerQuad);
    return {rounding, SumOfLanes(middles)};
  }
};

template <typename Q>
void FinishRotated(const AttentionState& state, int head_dim, float* output) {
  const Floats factor = Lanes::Broadcast(1 / state.sum / static_cast<float>(PartOf(head_dim)));
  for (int dim = 0; dim < head_dim; dim += 16) {
    Lanes::Store(Lanes::Mul(Lanes::Load(state.weighted + dim), factor), output + dim);
  }
  Rotate<Q>(head_dim, output);
}

template <typename Q>
constexpr KvKernels kInt8Int4Kernels = {PrepareIntegers<Q>, AttendCodes<Q, Int8Keys<Q>, Int4Values<Q>>};
template <typename Q>
constexpr KvKernels kInt4Int8Kernels = {PrepareIntegers<Q>, AttendCodes<Q, Int4Keys<Q>, Int8Values<Q>>};
template <typename Q>
constexpr KvKernels kInt4Kernels = {PrepareIntegers<Q>, AttendCodes<Q, Int4Keys<Q>, Int4Values<Q>>};

}  // namespace
}  // namespace quire
