// The toolkit's bfloat16, as far as kernels/cuda uses it, with its rounding: to nearest even; every NaN becomes 0x7fff.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "tests/cuda_shim/vector_types.h"

struct __nv_bfloat16_raw {
  unsigned short x;
};

struct __nv_bfloat16 {
  unsigned short bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(float value) : bits(value != value ? 0x7fff : quire::ToBFloat16(value)) {}
  constexpr __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x) {}
  operator float() const { return quire::FromBFloat16(bits); }
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline __nv_bfloat16 __float2bfloat16(float x) { return {x}; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {x}; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {__nv_bfloat16_raw{bits}}; }

inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) { return {{low}, {high}}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) { return {{pair.x}, {pair.y}}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) { return {low, high}; }
inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) { return {low, high}; }
// a * b + c. The toolkit rounds it once, this twice: the same where the result is exact.
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
  return {{std::fma(a.x, b.x, c.x)}, {std::fma(a.y, b.y, c.y)}};
}
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {pair.x, pair.y}; }
inline float __low2float(__nv_bfloat162 pair) { return pair.x; }
inline float __high2float(__nv_bfloat162 pair) { return pair.y; }
