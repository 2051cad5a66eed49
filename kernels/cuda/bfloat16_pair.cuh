// Two bfloat16 numbers in a register, the first in the low half, and two of float8 that become such.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace quire {

__device__ __forceinline__ __nv_bfloat162 AsPair(uint32_t bits) {
  __nv_bfloat162 pair;
  memcpy(&pair, &bits, sizeof(pair));
  return pair;
}

__device__ __forceinline__ uint32_t AsBits(__nv_bfloat162 pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// To nearest even.
__device__ __forceinline__ uint32_t RoundToBFloat16Pair(float low, float high) {
  return AsBits(__floats2bfloat162_rn(low, high));
}

// a * b + c for both halves.
__device__ __forceinline__ uint32_t FmaPair(uint32_t a, uint32_t b, uint32_t c) {
  return AsBits(__hfma2(AsPair(a), AsPair(b), AsPair(c)));
}

// Bytes kFirst (into the low half) and kSecond of `codes`, e4m3, exactly: it has the fields of bfloat16 in the same
// order, and an exponent that is off by 120. Its code for NaN becomes 480.
template <int kFirst, int kSecond>
__device__ __forceinline__ uint32_t WidenFloat8Pair(uint32_t codes) {
  constexpr uint32_t kMinusZero = 0x80008000, kTwoTo120 = 0x7b807b80;
  const uint32_t bytes = __byte_perm(codes, 0, 0x4 | kFirst << 4 | 0x400 | kSecond << 12);
  return FmaPair((bytes & 0x80008000) | (bytes & 0x7f007f00) >> 4, kTwoTo120, kMinusZero);
}

}  // namespace quire
