#include "kernels/cpu/matmul_kernels.h"

namespace quire {
namespace {

constexpr int64_t AlignUp(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

int64_t PanelCodesOffset(DType dtype, int64_t cols) {
  const AffineFormat format = AffineFormatOf(dtype);
  const int values = format.scales_per_group + (format.has_offset ? 1 : 0);
  return AlignUp(cols / kGroupSize * values * kPanelChannels * (format.float16_scales ? 2 : 4));
}

int64_t PanelBytes(DType dtype, int64_t cols) {
  if (!IsQuantized(dtype)) return AlignUp(cols * kPanelChannels * TraitsOf(dtype).block_bytes);
  return PanelCodesOffset(dtype, cols) + cols * kPanelChannels * AffineFormatOf(dtype).code_bits / 8;
}

}  // namespace quire
