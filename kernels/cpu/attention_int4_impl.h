// Attention kernels for V in int4, and K in int8, as templates over Q, of which attention_int8_impl.h tells.
//
// A token's V is (code - 8) * scale + middle in all rotated dimensions, middle being minimum + 8 * scale. So weights
// times scales are rounded and multiplied with codes as for int8, exactly, and the middles add one number to all
// dimensions:
//   weighted V = dot * scale_of_weights + sum(weight * middle)
// That sum goes by lane (position modulo 16), then over lanes as a tree. Without the 8, rounded weights would be off by
// about the same in all dimensions, which rotating back gathers in one.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention_int8_impl.h"

namespace quire {
namespace {

constexpr int kInt4KvCentre = 8;

inline const uint16_t* Int4Scales(const std::byte* block, int head_dim) {
  return reinterpret_cast<const uint16_t*>(block + head_dim * kKvBlockTokens / 2);
}
inline Floats Int4Middles(const std::byte* block, int head_dim, Floats scales) {
  const Floats minima = Lanes::LoadBFloat16(Int4Scales(block, head_dim) + kKvBlockTokens);
  return Lanes::Fma(scales, Lanes::Broadcast(kInt4KvCentre), minima);
}

inline float SumOfLanes(Floats x) {
  float lanes[16];
  Lanes::Store(x, lanes);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

template <typename Q>
struct Int4Values {
  struct Weights {
    float scale;
    float middle;    // Weighted, of all tokens.
    int32_t centre;  // To be added to dot products.
  };
  static constexpr int kVectorsPerLoad = 2;

  // Of 64 bytes, 32 dimensions.
  static void Load(const std::byte* p, typename Q::Codes* codes) { Q::LoadNibbles(p, codes); }
  static Floats Weighted(const typename Q::Sums& sums, const Weights& weights) {
    const Ints dots = Lanes::AddInt(Q::Total(sums), Lanes::BroadcastInt(weights.centre));
    return Lanes::Fma(Lanes::ToFloats(dots), Lanes::Broadcast(weights.scale), Lanes::Broadcast(weights.middle));
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
        const Floats scales = Lanes::LoadBFloat16(Int4Scales(values, chunk.head_dim));
        scaled = of_seen(scales);
        middles = Lanes::Add(middles, of_seen(Int4Middles(values, chunk.head_dim, scales)));
      }
      max_bits = Lanes::MaxInt(max_bits, Lanes::MagnitudeBits(scaled));
      Lanes::Store(scaled, x);
    }
    const Rounding rounding =
        RoundRow<Q>(weights + begin_block * kKvBlockTokens, (end_block - begin_block) * kKvBlockTokens,
                    Lanes::ReduceMax(max_bits), words + begin_block * kKvBlockTokens / 4 * kWordsPerQuad);
    return {rounding.scale, SumOfLanes(middles), -kInt4KvCentre * rounding.sum};
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

}  // namespace
}  // namespace quire
