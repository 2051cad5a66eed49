// The toolkit's binary16, as far as kernels/cuda uses it, with its rounding: to nearest even, overflow to infinity;
// every NaN becomes 0x7fff.
#pragma once

#include <cstdint>

#include "kernels/float16.h"
#include "tests/cuda_shim/vector_types.h"

struct __half_raw {
  unsigned short x;
};

struct __half {
  unsigned short bits;

  __half() = default;
  __half(float value) : bits(value != value ? 0x7fff : quire::ToFloat16(value)) {}
  constexpr __half(__half_raw raw) : bits(raw.x) {}
  operator float() const { return quire::FromFloat16(bits); }
  operator __half_raw() const { return {bits}; }
};

struct __half2_raw {
  unsigned short x, y;
};

struct alignas(4) __half2 {
  __half x, y;

  __half2() = default;
  __half2(__half low, __half high) : x(low), y(high) {}
  __half2(__half2_raw raw) : x(__half_raw{raw.x}), y(__half_raw{raw.y}) {}
};

using half = __half;
using half2 = __half2;

inline __half __float2half(float x) { return {x}; }
inline __half __float2half_rn(float x) { return {x}; }
inline float __half2float(__half x) { return x; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {__half_raw{bits}}; }

inline __half2 __floats2half2_rn(float low, float high) { return {__half(low), __half(high)}; }
inline __half2 __halves2half2(__half low, __half high) { return {low, high}; }
inline __half2 make_half2(__half low, __half high) { return {low, high}; }
inline float2 __half22float2(__half2 pair) { return {pair.x, pair.y}; }
inline float __low2float(__half2 pair) { return pair.x; }
inline float __high2float(__half2 pair) { return pair.y; }
