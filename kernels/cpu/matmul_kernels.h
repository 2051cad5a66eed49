// The inner loops of matrix multiplication, one table of functions for each instruction set, and the layouts that they
// share.
//
// Weights lie in panels of 16 output channels, one channel for each 32-bit lane of a vector. A quantised panel has two
// parts, each starting at a multiple of 64 bytes:
//   scales  for each group of 32 input features: scales[scales_per_group][16], then offsets[16] where the format has
//   them codes   for each group, 32 x 16 codes:
//           8 bits: byte [q][channel][i] is feature 4q + i;
//           4 bits: byte [j][channel][i] has feature 4j + i in its low nibble and 16 + 4j + i in the high one.
// A float panel is [feature][16], in the format's own width.
//
// Activations are rounded to 15 bits, one scale for each row and group, and split into two signed bytes: code = 128 *
// coarse + fine. Eight bits would move logits by a tenth of a nat and more. The dot product of a group is an exact integer,
// and the groups are added in order by fused multiply-adds (where the instruction set has them), so that a result does
// not depend on how rows and panels are tiled:
//   y = fma(dot, scale_w * scale_a, y), then y = fma(offset, scale_a * sum_a, y)
//
// Included by files that are compiled for one instruction set: nothing inline may be defined here, lest the linker keep
// its wide version for everyone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/affine_groups.h"
#include "kernels/dtype.h"

namespace quire {

inline constexpr int kPanelChannels = 16;
inline constexpr int kTileRows = 8;
inline constexpr int kNumDTypes = static_cast<int>(DType::kQ6_K) + 1;

// One group of features of up to kTileRows quantised rows; a tile is an array of them.
struct alignas(64) ActivationGroup {
  int8_t coarse[kTileRows][kGroupSize];  // In [-127, 127].
  int8_t fine[kTileRows][kGroupSize];    // In [-64, 63].
  float scales[kTileRows];
  float scaled_sums[kTileRows];          // scale * sum of the codes
  int32_t negated_sums[kTileRows];       // - sum of the codes
  int32_t negated_half_sums[kTileRows];  // - sum of the first 16 codes
};

struct ActivationTile {
  const ActivationGroup* groups = nullptr;  // For quantised weights: [cols / 32].
  const float* floats = nullptr;            // For float weights: [cols][kTileRows].
};

// The products of up to kTileRows rows with the 16 channels of one panel.
struct PanelProducts {
  alignas(64) float rows[kTileRows][kPanelChannels];
};

struct MatMulKernels {
  // Multiplies 1 << log2_rows rows of the tile, by [dtype][log2_rows].
  void (*multiply[kNumDTypes][4])(const std::byte* panel, int64_t cols, const ActivationTile& tile, PanelProducts& out);
  // Quantises one row of floats into row `row` of a tile. A group with a NaN or an infinity makes
  // all of its row's products NaN. REQUIRES: cols % 32 == 0.
  void (*quantize)(const float* input, int64_t cols, int row, ActivationGroup* tile);
  // RMSNorm of one row.
  void (*normalize)(const float* input, const float* weight, float epsilon, int64_t cols, float* output);
  // gate = silu(gate) * up, or gelu(gate) * up with the tanh form of gelu.
  void (*silu_gate)(float* gate, const float* up);
  void (*gelu_gate)(float* gate, const float* up);
};

// Where the codes of a quantised panel begin, and how long a panel of either kind is; multiples of 64.
int64_t PanelCodesOffset(DType dtype, int64_t cols);
int64_t PanelBytes(DType dtype, int64_t cols);

extern const MatMulKernels kPortableMatMulKernels;
#if defined(__x86_64__)
extern const MatMulKernels kAvx2MatMulKernels;
extern const MatMulKernels kAvx512MatMulKernels;
#endif

}  // namespace quire
