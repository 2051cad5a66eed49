// e4m3, the 8-bit float of "FP8 Formats for Deep Learning", arXiv:2209.05433, kept as its bits, and the scale that
// numbers share which are kept in it.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/host_device.h"

namespace quire {

// Rounds to nearest, ties to even; what is beyond 448, the largest number, becomes that, and a NaN stays a NaN.
inline uint8_t ToFloat8(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t code;
  if (magnitude > 0x7f800000) {
    code = 0x7f;
  } else if (magnitude >= 0x43e00000) {  // 448
    code = 0x7e;
  } else if (magnitude < 0x3c800000) {  // below 2^-6: adding 2^14 leaves the rounded multiple of 2^-9 in the low bits
    code = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) - std::bit_cast<uint32_t>(0x1p14f);
  } else {
    code = (magnitude - (uint32_t{127 - 7} << 23) + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
  }
  return static_cast<uint8_t>((bits >> 24 & 0x80) | code);
}

// A number x is kept as the code of x * inverse and means scale * code.
struct Float8Scale {
  float scale = 0;
  float inverse = 0;
};

// For numbers the largest magnitude of which is `peak`: it becomes 448. Numbers whose reciprocals would overflow count
// as zeros. Where the peak is not finite, the scale is NaN, and so is what is computed with it.
QUIRE_HOST_DEVICE inline Float8Scale Float8ScaleOf(float peak) {
  constexpr float kLargest = 448, kSmallestPeak = 1e-33f, kMostFinite = 3.402823466e38f;
  if (!(peak <= kMostFinite)) return {peak - peak, 0};
  return {peak / kLargest, peak > kSmallestPeak ? kLargest / peak : 0};
}

}  // namespace quire
