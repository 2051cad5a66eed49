// Sixteen lanes of AVX-512 with VNNI: the vocabulary of the kernels in *_impl.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace quire {
namespace {

struct Lanes {
  using Floats = __m512;
  using Ints = __m512i;

  static Floats Load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats LoadFloat16(const uint16_t* p) { return _mm512_cvtph_ps(LoadHalves(p)); }
  static Floats LoadBFloat16(const uint16_t* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(LoadHalves(p)), 16));
  }
  static void Store(Floats x, float* p) { _mm512_storeu_ps(p, x); }
  static Floats Broadcast(float x) { return _mm512_set1_ps(x); }
  static Floats Add(Floats x, Floats y) { return _mm512_add_ps(x, y); }
  static Floats Mul(Floats x, Floats y) { return _mm512_mul_ps(x, y); }
  static Floats Div(Floats x, Floats y) { return _mm512_div_ps(x, y); }
  static Floats Fma(Floats x, Floats y, Floats z) { return _mm512_fmadd_ps(x, y, z); }
  static Floats Clamp(Floats x, float low, float high) {
    return _mm512_max_ps(_mm512_min_ps(x, Broadcast(high)), Broadcast(low));
  }
  static Floats Max(Floats x, Floats y) { return _mm512_max_ps(x, y); }
  static Floats ZeroWhereLess(Floats x, float bound, Floats y) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, Broadcast(bound), _CMP_NLT_UQ), y);
  }

  static Ints BroadcastInt(int32_t x) { return _mm512_set1_epi32(x); }
  static Ints AddInt(Ints x, Ints y) { return _mm512_add_epi32(x, y); }
  static Ints SubInt(Ints x, Ints y) { return _mm512_sub_epi32(x, y); }
  static Ints MaxInt(Ints x, Ints y) { return _mm512_max_epi32(x, y); }
  template <int kBits>
  static Ints ShiftLeft(Ints x) {
    return _mm512_slli_epi32(x, kBits);
  }
  template <int kBits>
  static Ints ShiftRight(Ints x) {
    return _mm512_srai_epi32(x, kBits);
  }
  static Floats ToFloats(Ints x) { return _mm512_cvtepi32_ps(x); }
  static Floats AsFloats(Ints x) { return _mm512_castsi512_ps(x); }
  static Ints MagnitudeBits(Floats x) { return _mm512_and_epi32(_mm512_castps_si512(x), BroadcastInt(0x7fffffff)); }
  static Ints Round(Floats x) { return _mm512_cvtps_epi32(x); }
  static int32_t ReduceMax(Ints x) { return _mm512_reduce_max_epi32(x); }
  static int32_t ReduceAdd(Ints x) { return _mm512_reduce_add_epi32(x); }
  static void StoreInt8(Ints x, int8_t* p) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x)); }

  // Rows whose dot products with a group are made together, at most: as many as registers have room for.
  static constexpr int kDotRows = 16;
  // The same of residuals, of which there are few. One at a time takes more loads than products.
  static constexpr int kResidualRows = 2;

  // A group of weights: quad q has features [4q, 4q + 4) of sixteen channels. Bytes stay where they are.
  template <int kCodeBits>
  struct Codes {
    Ints Quad(int q) const { return _mm512_loadu_si512(bytes + 64 * q); }

    const uint8_t* bytes;
  };
  template <int kCodeBits>
  static Codes<kCodeBits> LoadCodes(const uint8_t* codes) {
    return Codes<kCodeBits>(codes);
  }

  // Adds to sums[row] the products of features [4 * kFirst, 4 * (kFirst + kCount)) of a group of codes and of each row.
  template <int kCodeBits, int kFirst, int kCount, int kRows>
  [[gnu::always_inline]] static void AddDots(const Codes<kCodeBits>& codes, const int8_t (*activations)[kGroupSize],
                                             Ints* sums) {
#pragma GCC unroll 8
    for (int quad = kFirst; quad < kFirst + kCount; ++quad) {
      const Ints weights = codes.Quad(quad);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row] = AddDot(sums[row], weights, activations[row] + 4 * quad);
    }
  }

 private:
  // VPDPBUSD with the same four bytes for all lanes, by hand: gcc 12 makes a register of them first.
  static Ints AddDot(Ints sum, Ints codes, const int8_t* four) {
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*reinterpret_cast<const int8_t(*)[4]>(four)));
    return sum;
  }
  static __m256i LoadHalves(const uint16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
};

template <>
struct Lanes::Codes<4> {
  explicit Codes(const uint8_t* nibbles) {
    const Ints low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Ints both = _mm512_loadu_si512(nibbles + 64 * j);
      quads[j] = _mm512_and_si512(both, low);
      quads[j + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
  Ints Quad(int q) const { return quads[q]; }
  // As bytes, from a multiple of 64 on.
  void Store(uint8_t* bytes) const {
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; ++quad) _mm512_store_si512(bytes + 64 * quad, quads[quad]);
  }

  Ints quads[8];
};

}  // namespace
}  // namespace quire
