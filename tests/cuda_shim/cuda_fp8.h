// The toolkit's 8-bit floats, as far as kernels/cuda uses them: e4m3 (sign, 4 bits of exponent with bias 7, 3 of
// fraction; no infinities, NaN is 0x7f and 0xff, the largest number 448), after "FP8 Formats for Deep Learning",
// arXiv:2209.05433.
#pragma once

#include <cmath>
#include <cstdint>

#include "tests/cuda_shim/cuda_fp16.h"

using __nv_fp8_storage_t = unsigned char;
using __nv_fp8x2_storage_t = unsigned short;
using __nv_fp8x4_storage_t = unsigned int;

enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3 };

// Rounds to nearest even. What rounds to more than 448 becomes 448 or, without saturation, NaN; every NaN becomes 0x7f.
inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t saturate, __nv_fp8_interpretation_t) {
  if (std::isnan(x)) return 0x7f;
  const int sign = std::signbit(x) ? 0x80 : 0;
  const float magnitude = std::fabs(x);
  if (magnitude > 464) return static_cast<__nv_fp8_storage_t>(sign | (saturate == __NV_SATFINITE ? 0x7e : 0x7f));
  // Numbers of one exponent are 8 steps apart; below 2^-6 the step stays 2^-9.
  const int exponent = magnitude < 0x1p-6f ? -6 : std::ilogb(magnitude);
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  // 16 steps carry into the exponent, fewer than 8 are a subnormal number of exponent field 0.
  return static_cast<__nv_fp8_storage_t>(sign | ((exponent + 6) * 8 + steps));
}

inline __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t bits, __nv_fp8_interpretation_t) {
  const int magnitude = bits & 0x7f;
  if (magnitude == 0x7f) return {0x7fff};
  const int exponent = magnitude >> 3;
  const int fraction = magnitude & 7;
  const float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                    : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return __half(bits & 0x80 ? -value : value);
}

inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 pair, __nv_saturation_t saturate,
                                                     __nv_fp8_interpretation_t interpretation) {
  const int low = __nv_cvt_float_to_fp8(pair.x, saturate, interpretation);
  const int high = __nv_cvt_float_to_fp8(pair.y, saturate, interpretation);
  return static_cast<__nv_fp8x2_storage_t>(high << 8 | low);
}

inline __half2_raw __nv_cvt_fp8x2_to_halfraw2(__nv_fp8x2_storage_t bits, __nv_fp8_interpretation_t interpretation) {
  return {__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(bits & 0xff), interpretation).x,
          __nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(bits >> 8), interpretation).x};
}

struct __nv_fp8_e4m3 {
  __nv_fp8_storage_t __x;

  __nv_fp8_e4m3() = default;
  explicit __nv_fp8_e4m3(float value) : __x(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3)) {}
  explicit operator float() const { return __half(__nv_cvt_fp8_to_halfraw(__x, __NV_E4M3)); }
};
