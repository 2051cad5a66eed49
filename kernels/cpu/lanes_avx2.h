// Sixteen lanes in two AVX2 registers: the vocabulary of the kernels in *_impl.h.
#pragma once

#include "kernels/cpu/lanes_256.h"

namespace quire {
namespace {

struct Lanes : Lanes256 {
  // Adds to sums[row] the products of features [4 * kFirst, 4 * (kFirst + kCount)) of a group of codes and of each row.
  template <int kCodeBits, int kFirst, int kCount, int kRows>
  static void AddDots(const Codes<kCodeBits>& group, const int8_t (*activations)[kGroupSize], Ints* sums) {
    const uint8_t* codes = group.bytes;
    if constexpr (kCodeBits == 4) {
      static_assert(kFirst == 0 && kCount == 8);
      AddDots4<kRows>(codes, activations, sums);
    } else {
      AddDots8<kFirst, kCount, kRows>(codes, activations, sums);
    }
  }

 private:
  // Sixteen products of a code up to 15 and an activation of magnitude up to 128 fit in 16 bits: 30720 in all, so a
  // whole group is added up before it is widened.
  template <int kRows>
  static void AddDots4(const uint8_t* codes, const int8_t (*activations)[kGroupSize], Ints* sums) {
    const __m256i low_nibble = _mm256_set1_epi8(15);
    __m256i words[kRows][2];
    for (int row = 0; row < kRows; ++row) words[row][0] = words[row][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m256i nibbles = LoadCodes(codes + 64 * j + 32 * half);
        const __m256i first = _mm256_and_si256(nibbles, low_nibble);
        const __m256i last = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), low_nibble);
#pragma GCC unroll 4
        for (int row = 0; row < kRows; ++row) {
          __m256i& word = words[row][half];
          word = _mm256_add_epi16(word, _mm256_maddubs_epi16(first, BroadcastFour(activations[row] + 4 * j)));
          word = _mm256_add_epi16(word, _mm256_maddubs_epi16(last, BroadcastFour(activations[row] + 4 * j + 16)));
        }
      }
    }
    const __m256i ones = _mm256_set1_epi16(1);
    for (int row = 0; row < kRows; ++row) {
      sums[row].low = _mm256_add_epi32(sums[row].low, _mm256_madd_epi16(words[row][0], ones));
      sums[row].high = _mm256_add_epi32(sums[row].high, _mm256_madd_epi16(words[row][1], ones));
    }
  }

  // Codes up to 255 would saturate the 8-bit multiplication, so even and odd bytes are widened and multiplied apart.
  // Not inlined: beside what goes on around it, the compiler would run out of registers.
  template <int kFirst, int kCount, int kRows>
  [[gnu::noinline]] static void AddDots8(const uint8_t* codes, const int8_t (*activations)[kGroupSize], Ints* sums) {
#pragma GCC unroll 8
    for (int quad = kFirst; quad < kFirst + kCount; ++quad) {
      const __m256i low = LoadCodes(codes + 64 * quad), high = LoadCodes(codes + 64 * quad + 32);
      const __m256i even_byte = _mm256_set1_epi16(0xff);
      const __m256i low_even = _mm256_and_si256(low, even_byte), low_odd = _mm256_srli_epi16(low, 8);
      const __m256i high_even = _mm256_and_si256(high, even_byte), high_odd = _mm256_srli_epi16(high, 8);
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        const __m256i four = BroadcastFour(activations[row] + 4 * quad);
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8), odd = _mm256_srai_epi16(four, 8);
        sums[row].low = _mm256_add_epi32(sums[row].low, _mm256_madd_epi16(low_even, even));
        sums[row].low = _mm256_add_epi32(sums[row].low, _mm256_madd_epi16(low_odd, odd));
        sums[row].high = _mm256_add_epi32(sums[row].high, _mm256_madd_epi16(high_even, even));
        sums[row].high = _mm256_add_epi32(sums[row].high, _mm256_madd_epi16(high_odd, odd));
      }
    }
  }
};

}  // namespace
}  // namespace quire
