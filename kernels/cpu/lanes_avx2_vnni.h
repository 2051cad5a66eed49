// Sixteen lanes in two AVX2 registers with 8-bit dot products: the vocabulary of the kernels in *_impl.h, but for the
// instruction itself, which has two encodings for these registers: AVX-VNNI's and AVX-512's.
#pragma once

#include "kernels/cpu/lanes_256.h"

namespace quire {
namespace {

// DotProduct::Add(sums, codes, activations) is VPDPBUSD: to each 32-bit lane of sums it adds the four products of the
// unsigned bytes and the signed ones that lie there, without saturation.
template <typename DotProduct>
struct VnniLanes : Lanes256 {
  template <int kCodeBits, int kFirst, int kCount, int kRows>
  static void AddDots(const Codes<kCodeBits>& group, const int8_t (*activations)[kGroupSize], Ints* sums) {
    if constexpr (kCodeBits == 4) {
      static_assert(kFirst == 0 && kCount == 8);
      AddDots4<kRows>(group.bytes, activations, sums);
    } else {
      AddDots8<kFirst, kCount, kRows>(group.bytes, activations, sums);
    }
  }

 private:
  template <int kRows>
  static void AddDots4(const uint8_t* codes, const int8_t (*activations)[kGroupSize], Ints* sums) {
    const __m256i low_nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256i low = LoadCodes(codes + 64 * j), high = LoadCodes(codes + 64 * j + 32);
      AddQuad<kRows>(_mm256_and_si256(low, low_nibble), _mm256_and_si256(high, low_nibble), 4 * j, activations, sums);
      AddQuad<kRows>(_mm256_and_si256(_mm256_srli_epi16(low, 4), low_nibble),
                     _mm256_and_si256(_mm256_srli_epi16(high, 4), low_nibble), 4 * j + 16, activations, sums);
    }
  }

  template <int kFirst, int kCount, int kRows>
  static void AddDots8(const uint8_t* codes, const int8_t (*activations)[kGroupSize], Ints* sums) {
#pragma GCC unroll 8
    for (int quad = kFirst; quad < kFirst + kCount; ++quad) {
      AddQuad<kRows>(LoadCodes(codes + 64 * quad), LoadCodes(codes + 64 * quad + 32), 4 * quad, activations, sums);
    }
  }

  // Features [feature, feature + 4) of the sixteen channels.
  template <int kRows>
  static void AddQuad(__m256i low, __m256i high, int feature, const int8_t (*activations)[kGroupSize], Ints* sums) {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const __m256i four = BroadcastFour(activations[row] + feature);
      sums[row].low = DotProduct::Add(sums[row].low, low, four);
      sums[row].high = DotProduct::Add(sums[row].high, high, four);
    }
  }
};

}  // namespace
}  // namespace quire
