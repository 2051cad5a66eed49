// One reading of all of GGUF's block formats: groups of 32 weights, each an unsigned code with the group's scale and
// offset,
//
//   weight = scale * (code - zero_point) + offset
//
// where symmetric formats have no offset, and the others no zero point. Nothing is lost: the products of K-quants'
// scales (an f16 times six or eight bits) are exact in a float. The block layouts are those of ggml's `block_*`
// structs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace quire {

inline constexpr int kGroupSize = 32;

struct AffineFormat {
  int code_bits = 8;  // 4 or 8
  bool has_offset = false;
  bool float16_scales = true;  // Scales and offset are float16 values.
  int scales_per_group = 1;    // 2: one for the first and one for the last 16 weights.

  // Symmetric codes are centred, so that the zero point follows from their width.
  constexpr int zero_point() const { return has_offset ? 0 : 1 << (code_bits - 1); }
};

constexpr bool IsQuantized(DType dtype) {
  return dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16;
}

// REQUIRES: IsQuantized(dtype).
constexpr AffineFormat AffineFormatOf(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return {.code_bits = 4};
    case DType::kQ4_1:
      return {.code_bits = 4, .has_offset = true};
    case DType::kQ5_1:
      return {.has_offset = true};
    case DType::kQ4_K:
      return {.code_bits = 4, .has_offset = true, .float16_scales = false};
    case DType::kQ5_K:
      return {.has_offset = true, .float16_scales = false};
    case DType::kQ6_K:
      return {.float16_scales = false, .scales_per_group = 2};
    default:
      return {};  // Q8_0, Q5_0
  }
}

struct AffineGroup {
  uint8_t codes[kGroupSize];
  float scales[2];  // Of the first and the last 16 weights.
  float offset;
};

// Weights [32 * group, 32 * group + 32) of a row that starts at `row`. REQUIRES: IsQuantized(dtype).
void DecodeGroup(DType dtype, const std::byte* row, int64_t group, AffineGroup& out);

}  // namespace quire
