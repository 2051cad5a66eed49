// How the CUDA backend keeps weights: at the file's precision or in 8-bit floats, in the order in which matrix
// instructions take them.
//
// A matrix is cut into panels of 16 output channels, and a panel into tiles of 64 input features; what pads the last
// ones is zero. A tile is one run of bytes, codes first and then scales, a panel its tiles in order, and a segment of a
// matrix (kernels/cuda/packed_matrix.h) its panels in order. So a warp that walks along a panel reads consecutive
// memory, in pieces of 16 bytes.
//
// Weights are the A operand of mma.m16n8k16 (kernels/cuda/device.cuh), channels as its rows, because a step often has
// no more than 8 tokens, which is what the B operand has columns for. Lane 4 * g + t holds channels g and g + 8. The
// instruction adds up 16 features; which of them are called which does not matter as long as both operands agree. Lane
// t of a group of four takes features [8t, 8t + 8) of each 32, which are 16 consecutive bytes of a row of activations:
// the first four for the first of two instructions, the last four for the second.
//
// A fragment is what a lane gives to one instruction: 8 weights, in the order of the operand's registers,
//
//   index in fragment      0  1    2  3      4  5    6  7
//   channel                g  g  g+8 g+8     g  g  g+8 g+8
//   feature, from 8t + 4q  0  1    0  1      2  3    2  3        q: the first (0) or second (1) instruction of a 32
//
// A tile has fragments 0 to 3 for every lane, number 2 * (feature / 32) + q. They are packed into vectors of 16 bytes,
// ascending: four fragments of 4-bit codes, two of 8-bit codes, one of bfloat16. The codes of a tile are
// [vector][lane][16 bytes]. A 4-bit code of even index is in the low nibble.
//
// float8 is multiplied as it is where the device can: its fragments are in the order that the operand of an instruction
// for 8-bit numbers has, in which a register holds four features of one channel. A lane's two fragments of 32 features
// are the four registers of one such instruction, which calls feature 8t + 4q + j number 16q + 4t + j.
//
//   index in fragment      0  1  2  3     4   5   6   7
//   channel                g  g  g  g    g+8 g+8 g+8 g+8
//   feature, from 8t + 4q  0  1  2  3     0   1   2   3
//
// The scales of a tile are [group of 32 features][part of the group: one, or two halves][g]{scale of channel g, of
// g + 8, and where there are offsets, offset of g, of g + 8}, in float16 or float32.
//
// A weight means scale * (code - zero_point) + offset, as in kernels/affine_groups.h. Embed gives just that; MatMul
// rounds it to bfloat16, to nearest even. A weight in float8 means scale * code, with the scale of its channel
// (kernels/float8.h), which lies apart from the panels: kPanelRows of them for each panel, float32, in order.
#pragma once

#include <cstdint>

#include "kernels/affine_groups.h"
#include "kernels/dtype.h"
#include "kernels/host_device.h"

namespace quire {

inline constexpr int kPanelRows = 16;     // Output channels of a panel.
inline constexpr int kTileFeatures = 64;  // Input features of a tile.
inline constexpr int kLanes = 32;         // Of a warp.
inline constexpr int kVectorBytes = 16;   // What a lane loads at once.
inline constexpr int kTileFragments = 4;  // Of a lane.
inline constexpr int kFragmentWeights = 8;

enum class WeightFormat : uint8_t {
  kBFloat16,         // F32 and F16, rounded to nearest even, and BF16
  k4Bit,             // Q4_0
  k4BitOffset,       // Q4_1
  k4BitFloatOffset,  // Q4_K
  k8Bit,             // Q5_0, Q8_0
  k8BitOffset,       // Q5_1
  k8BitFloatOffset,  // Q5_K
  k8BitFloatHalves,  // Q6_K
  kFloat8,           // What anything can be rounded to, if that is asked for.
};

// The numbers that define a format. bfloat16 and float8 have codes that are numbers, and no scales in tiles.
struct WeightLayout {
  int code_bits = 16;
  int scales_per_group = 0;  // 2: one for the first and one for the last 16 features.
  bool has_offset = false;
  int scale_bytes = 0;  // 2: float16, 4: float32
  bool is_float8 = false;

  QUIRE_HOST_DEVICE constexpr int zero_point() const { return has_offset ? 0 : 1 << (code_bits - 1); }
  // Of a lane.
  QUIRE_HOST_DEVICE constexpr int vectors() const { return kTileFragments * kFragmentWeights * code_bits / 128; }
  // Of the scales and offsets of two channels, g and g + 8, and one part of a group.
  QUIRE_HOST_DEVICE constexpr int scale_entry_bytes() const { return (has_offset ? 4 : 2) * scale_bytes; }
  QUIRE_HOST_DEVICE constexpr int code_bytes_of_tile() const { return vectors() * kLanes * kVectorBytes; }
  QUIRE_HOST_DEVICE constexpr int tile_bytes() const {
    const int groups = kTileFeatures / kGroupSize;
    return code_bytes_of_tile() + groups * scales_per_group * (kPanelRows / 2) * scale_entry_bytes();
  }

  // Where the code of a weight lies in its tile: bits from the tile's beginning.
  QUIRE_HOST_DEVICE constexpr int CodeBit(int channel, int feature) const {
    const int lane = channel % 8 * 4 + feature % 32 / 8;
    const int fragment = feature / 32 * 2 + feature % 8 / 4;
    const int index = is_float8 ? feature % 4 + channel / 8 * 4 : feature % 2 + channel / 8 * 2 + feature % 4 / 2 * 4;
    const int per_vector = kTileFragments / vectors();
    return (fragment / per_vector * kLanes + lane) * 128 +
           (fragment % per_vector * kFragmentWeights + index) * code_bits;
  }
  // Where its scale lies, in bytes; its offset is two scales further on. REQUIRES: scales_per_group > 0.
  QUIRE_HOST_DEVICE constexpr int ScaleByte(int channel, int feature) const {
    const int part = feature / kGroupSize * scales_per_group + feature % kGroupSize * scales_per_group / kGroupSize;
    return code_bytes_of_tile() + (part * 8 + channel % 8) * scale_entry_bytes() + channel / 8 * scale_bytes;
  }
};

QUIRE_HOST_DEVICE constexpr WeightLayout LayoutOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return {};
    case WeightFormat::k4Bit:
      return {.code_bits = 4, .scales_per_group = 1, .has_offset = false, .scale_bytes = 2};
    case WeightFormat::k4BitOffset:
      return {.code_bits = 4, .scales_per_group = 1, .has_offset = true, .scale_bytes = 2};
    case WeightFormat::k4BitFloatOffset:
      return {.code_bits = 4, .scales_per_group = 1, .has_offset = true, .scale_bytes = 4};
    case WeightFormat::k8Bit:
      return {.code_bits = 8, .scales_per_group = 1, .has_offset = false, .scale_bytes = 2};
    case WeightFormat::k8BitOffset:
      return {.code_bits = 8, .scales_per_group = 1, .has_offset = true, .scale_bytes = 2};
    case WeightFormat::k8BitFloatOffset:
      return {.code_bits = 8, .scales_per_group = 1, .has_offset = true, .scale_bytes = 4};
    case WeightFormat::k8BitFloatHalves:
      return {.code_bits = 8, .scales_per_group = 2, .has_offset = false, .scale_bytes = 4};
    case WeightFormat::kFloat8:
      return {.code_bits = 8, .is_float8 = true};
  }
  return {};
}

// fn.operator()<format>().
template <typename Function>
void WithFormat(WeightFormat format, const Function& fn) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return fn.template operator()<WeightFormat::kBFloat16>();
    case WeightFormat::k4Bit:
      return fn.template operator()<WeightFormat::k4Bit>();
    case WeightFormat::k4BitOffset:
      return fn.template operator()<WeightFormat::k4BitOffset>();
    case WeightFormat::k4BitFloatOffset:
      return fn.template operator()<WeightFormat::k4BitFloatOffset>();
    case WeightFormat::k8Bit:
      return fn.template operator()<WeightFormat::k8Bit>();
    case WeightFormat::k8BitOffset:
      return fn.template operator()<WeightFormat::k8BitOffset>();
    case WeightFormat::k8BitFloatOffset:
      return fn.template operator()<WeightFormat::k8BitFloatOffset>();
    case WeightFormat::k8BitFloatHalves:
      return fn.template operator()<WeightFormat::k8BitFloatHalves>();
    case WeightFormat::kFloat8:
      return fn.template operator()<WeightFormat::kFloat8>();
  }
}

// In which a file's weights keep their precision.
constexpr WeightFormat WeightFormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return WeightFormat::kBFloat16;
    case DType::kQ4_0:
      return WeightFormat::k4Bit;
    case DType::kQ4_1:
      return WeightFormat::k4BitOffset;
    case DType::kQ4_K:
      return WeightFormat::k4BitFloatOffset;
    case DType::kQ5_0:
    case DType::kQ8_0:
      return WeightFormat::k8Bit;
    case DType::kQ5_1:
      return WeightFormat::k8BitOffset;
    case DType::kQ5_K:
      return WeightFormat::k8BitFloatOffset;
    case DType::kQ6_K:
      return WeightFormat::k8BitFloatHalves;
  }
  return WeightFormat::kBFloat16;
}

constexpr int64_t TilesOf(int64_t cols) { return (cols + kTileFeatures - 1) / kTileFeatures; }
constexpr int64_t PanelsOf(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
constexpr int64_t PanelBytesOf(WeightFormat format, int64_t cols) {
  return TilesOf(cols) * LayoutOf(format).tile_bytes();
}

}  // namespace quire
