// Sixteen lanes in two AVX2 registers: what the vocabularies of *_impl.h have in common on processors with AVX2. How
// they multiply codes differs.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace quire {
namespace {

struct Lanes256 {
  struct Floats {
    __m256 low, high;
  };
  struct Ints {
    __m256i low, high;
  };

  static Floats Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Floats LoadFloat16(const uint16_t* p) {
    return {_mm256_cvtph_ps(LoadHalves(p)), _mm256_cvtph_ps(LoadHalves(p + 8))};
  }
  static Floats LoadBFloat16(const uint16_t* p) { return {WidenBFloat16(p), WidenBFloat16(p + 8)}; }
  static void Store(Floats x, float* p) {
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
  }
  static Floats Broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Floats Add(Floats x, Floats y) { return {_mm256_add_ps(x.low, y.low), _mm256_add_ps(x.high, y.high)}; }
  static Floats Mul(Floats x, Floats y) { return {_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)}; }
  static Floats Div(Floats x, Floats y) { return {_mm256_div_ps(x.low, y.low), _mm256_div_ps(x.high, y.high)}; }
  static Floats Fma(Floats x, Floats y, Floats z) {
    return {_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)};
  }
  static Floats Clamp(Floats x, float low, float high) {
    const __m256 lows = _mm256_set1_ps(low), highs = _mm256_set1_ps(high);
    return {_mm256_max_ps(_mm256_min_ps(x.low, highs), lows), _mm256_max_ps(_mm256_min_ps(x.high, highs), lows)};
  }
  static Floats Max(Floats x, Floats y) { return {_mm256_max_ps(x.low, y.low), _mm256_max_ps(x.high, y.high)}; }
  static Floats ZeroWhereLess(Floats x, float bound, Floats y) {
    const __m256 bounds = _mm256_set1_ps(bound);
    return {_mm256_and_ps(_mm256_cmp_ps(x.low, bounds, _CMP_NLT_UQ), y.low),
            _mm256_and_ps(_mm256_cmp_ps(x.high, bounds, _CMP_NLT_UQ), y.high)};
  }

  static Ints BroadcastInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static Ints AddInt(Ints x, Ints y) { return {_mm256_add_epi32(x.low, y.low), _mm256_add_epi32(x.high, y.high)}; }
  static Ints SubInt(Ints x, Ints y) { return {_mm256_sub_epi32(x.low, y.low), _mm256_sub_epi32(x.high, y.high)}; }
  static Ints MaxInt(Ints x, Ints y) { return {_mm256_max_epi32(x.low, y.low), _mm256_max_epi32(x.high, y.high)}; }
  template <int kBits>
  static Ints ShiftLeft(Ints x) {
    return {_mm256_slli_epi32(x.low, kBits), _mm256_slli_epi32(x.high, kBits)};
  }
  template <int kBits>
  static Ints ShiftRight(Ints x) {
    return {_mm256_srai_epi32(x.low, kBits), _mm256_srai_epi32(x.high, kBits)};
  }
  static Floats ToFloats(Ints x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
  static Floats AsFloats(Ints x) { return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)}; }
  static Ints MagnitudeBits(Floats x) {
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    return {_mm256_and_si256(_mm256_castps_si256(x.low), mask), _mm256_and_si256(_mm256_castps_si256(x.high), mask)};
  }
  static Ints Round(Floats x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
  static int32_t ReduceMax(Ints x) {
    const __m256i eight = _mm256_max_epi32(x.low, x.high);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
    return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0b10110001)));
  }
  static int32_t ReduceAdd(Ints x) {
    const __m256i eight = _mm256_add_epi32(x.low, x.high);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0b10110001)));
  }
  static void StoreInt8(Ints x, int8_t* p) {
    // Packing works within 128-bit halves; the permutation puts the eight-byte pieces back in order.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0b11011000);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  }

  // Rows whose dot products with a group are made together, at most: as many as registers have room for.
  static constexpr int kDotRows = 4;
  // The same of residuals, of which there are few.
  static constexpr int kResidualRows = 1;

  // A group of weights. They stay where they are: there are too few registers.
  template <int kCodeBits>
  struct Codes {
    const uint8_t* bytes;
  };
  template <int kCodeBits>
  static Codes<kCodeBits> LoadCodes(const uint8_t* codes) {
    return {codes};
  }

  static __m256i LoadCodes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static __m256i BroadcastFour(const int8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }

 private:
  static __m128i LoadHalves(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static __m256 WidenBFloat16(const uint16_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadHalves(p)), 16));
  }
};

}  // namespace
}  // namespace quire
