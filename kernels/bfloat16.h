// bfloat16: the upper half of an IEEE float32, kept as its bits.
#pragma once

#include <bit>
#include <cstdint>

namespace quire {

inline float FromBFloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Rounds to nearest, ties to even. A NaN stays a NaN: its payload is cut instead of rounded, which could carry into
// infinity.
inline uint16_t ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace quire
