#include "kernels/dequantize.h"

#include <cstring>

#include "kernels/affine_groups.h"
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/float16.h"

namespace quire {
namespace {

uint16_t HalfAt(const std::byte* row, size_t index) {
  uint16_t bits;
  std::memcpy(&bits, row + index * sizeof(bits), sizeof(bits));
  return bits;
}

void DequantizeGroups(DType dtype, const std::byte* row, std::span<float> out) {
  const AffineFormat format = AffineFormatOf(dtype);
  for (size_t begin = 0; begin < out.size(); begin += kGroupSize) {
    AffineGroup group;
    DecodeGroup(dtype, row, static_cast<int64_t>(begin / kGroupSize), group);
    for (int i = 0; i < kGroupSize; ++i) {
      const float product = group.scales[i / 16] * static_cast<float>(group.codes[i] - format.zero_point());
      out[begin + i] = format.has_offset ? product + group.offset : product;
    }
  }
}

}  // namespace

void DequantizeRow(DType dtype, const std::byte* row, std::span<float> out) {
  QUIRE_CHECK(out.size() % TraitsOf(dtype).block_elements == 0);
  switch (dtype) {
    case DType::kF32:
      if (!out.empty()) std::memcpy(out.data(), row, out.size_bytes());
      return;
    case DType::kF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = FromFloat16(HalfAt(row, i));
      return;
    case DType::kBF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = FromBFloat16(HalfAt(row, i));
      return;
    default:
      return DequantizeGroups(dtype, row, out);
  }
}

}  // namespace quire
