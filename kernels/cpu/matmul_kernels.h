// The inner loops of matrix multiplication, one table of functions for each instruction set, and the layouts that they
// share.
//
// Weights lie in panels of 16 output channels, one channel for each 32-bit lane of a vector. A quantised panel has two
// parts, each starting at a multiple of 64 bytes:
//
//   scales  for each group of 32 input features: scales[scales_per_group][16], then offsets[16] if the format has them
//
//   codes   for each group, 32 x 16 codes;
//           8 bits: byte [q][channel][i] is feature 4q + i;
//           4 bits: byte [j][channel][i] has feature 4j + i in its low nibble and 16 + 4j + i in the high one
//
// A float panel is [feature][16], in the format's own width.
//
// Activations are rounded to eight bits, one scale for each row and group. Where that is too coarse, the rounding
// errors are themselves kept in eight bits, as a second set of codes: a group's residual. It is too coarse where a
// group's largest magnitude exceeds kPeakToRms times the row's root mean square, for the rounding noise of a group
// follows its peak, and what matters of it is its share of the whole row. Dot products of codes are exact integers.
// Groups are added in order by fused multiply-adds (where the instruction set has them), codes and residuals apart, so
// that a result depends on its own row alone:
//   y = fma(dot, scale_w * scale_a, y), then y = fma(offset, scaled_sum_a, y)     for each group
//   r = fma(dot of residuals, scale_w * residual_scale_a, r)                      for each group that has one
//   result = y + r
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
inline constexpr int kNumDTypes = static_cast<int>(DType::kQ6_K) + 1;

// Rows that share a load of the weights, where vectors multiply: so many, or a block where registers have room.
inline constexpr int kTileRows = 8;
// Rows that lie side by side, group by group: one or two tiles of vectors, one tile register.
inline constexpr int kBlockRows = 16;
// Of a chunk, which a kernel multiplies with one panel at a time: a multiple of kBlockRows.
inline constexpr int kMaxChunkRows = 128;

// In units of the row's root mean square. At 3 the rounding noise is below 5e-5 of a row's energy, and about a quarter
// of a real model's groups have a residual. tests/golden says what that is worth.
inline constexpr float kPeakToRms = 3.0f;

// One group of features of a block of rows, rounded.
struct alignas(64) QuantizedGroup {
  int8_t codes[kBlockRows][kGroupSize];  // In [-127, 127].
  float scales[kBlockRows];
  int32_t negated_sums[kBlockRows];       // - sum of the codes
  int32_t negated_half_sums[kBlockRows];  // - sum of the first 16 codes
};

// Of a block of a chunk's rows.
struct ActivationGroup : QuantizedGroup {
  float scaled_sums[kBlockRows];  // Sum of the values that codes and residual stand for.
};

// What rounding took away from a group of some rows.
struct ResidualGroup : QuantizedGroup {
  int32_t rows[kBlockRows];  // In the chunk.
};

// How many residuals there are of a group: on a line of its own, since neighbouring groups are written by several
// threads.
struct alignas(64) ResidualCount {
  int32_t value;
};

// The residuals of a chunk by group, by ascending row.
struct ResidualLists {
  ResidualCount* counts = nullptr;  // [cols / 32]
  ResidualGroup* blocks = nullptr;  // [cols / 32][num_blocks], of kBlockRows residuals each
  int64_t num_blocks = 0;           // As many as the chunk's rows have.
};

struct ActivationChunk {
  int rows = 0;
  const ActivationGroup* groups = nullptr;  // For quantised weights: [blocks][cols / 32].
  ResidualLists residuals;                  // For the same.
  const float* floats = nullptr;            // For float weights: [tiles][cols][kTileRows].
  std::byte* scratch = nullptr;             // The caller's own, cols * kPanelChannels bytes from a multiple of 64.
};

// The products of a chunk's rows with the 16 channels of one panel.
struct PanelProducts {
  alignas(64) float rows[kMaxChunkRows][kPanelChannels];
};

struct MatMulKernels {
  // A chunk has at most so many rows: a multiple of kBlockRows, up to kMaxChunkRows.
  int max_chunk_rows;
  // By dtype. Fetches the panel's bytes at `next`, if any, meanwhile. The chunk's last block has rows of zeros up to 1,
  // 2, 4 or kBlockRows, which are multiplied as well; products beyond the chunk's rows have no meaning.
  void (*multiply[kNumDTypes])(const std::byte* panel, const std::byte* next, int64_t cols,
                               const ActivationChunk& chunk, PanelProducts& products);
  // Writes rows of products to `output`, where rows begin `stride` floats apart, or adds them to what is there.
  void (*store)(const PanelProducts& products, int rows, float* output, int64_t stride);
  void (*add)(const PanelProducts& products, int rows, float* output, int64_t stride);
  // Quantises groups [begin, end) of a row of `cols` features: row `row` of the chunk, whose block is `block`. All
  // rows of a group are quantised by one thread, row 0 first. A group with a value that is not finite gets the scale
  // NaN.
  void (*quantize)(const float* input, int64_t cols, int64_t begin, int64_t end, int row, ActivationGroup* block,
                   const ResidualLists& residuals);
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
extern const MatMulKernels kAvx2VnniMatMulKernels;
extern const MatMulKernels kAvx512MatMulKernels;
extern const MatMulKernels kAmxMatMulKernels;
#endif

}  // namespace quire
