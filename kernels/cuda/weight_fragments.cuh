// Weights of kernels/cuda/weight_format.h, on their way from a tile into the registers of a matrix instruction.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/weight_format.h"

namespace quire {

__device__ __forceinline__ float Float16ToFloat(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}

// Of channels g and g + 8 and one part of a group.
struct PairOfScales {
  float scales[2];
  float offsets[2];
};

template <WeightFormat kFormat>
__device__ __forceinline__ PairOfScales LoadScales(const std::byte* entry) {
  constexpr WeightLayout kLayout = LayoutOf(kFormat);
  uint32_t words[kLayout.scale_entry_bytes() / 4];
  memcpy(words, __builtin_assume_aligned(entry, kLayout.scale_entry_bytes()), sizeof(words));
  PairOfScales pair = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (kLayout.scale_bytes == 2) {
      pair.scales[i] = Float16ToFloat(words[0] >> 16 * i & 0xffff);
      if constexpr (kLayout.has_offset) pair.offsets[i] = Float16ToFloat(words[1] >> 16 * i & 0xffff);
    } else {
      pair.scales[i] = __uint_as_float(words[i]);
      if constexpr (kLayout.has_offset) pair.offsets[i] = __uint_as_float(words[2 + i]);
    }
  }
  return pair;
}

// What a lane holds of one tile.
template <WeightFormat kFormat>
class LaneOfTile {
 public:
  static constexpr WeightLayout kLayout = LayoutOf(kFormat);

  LaneOfTile() = default;
  // `tile` is in shared memory; scales, and weights that need no expansion, are read when they are needed.
  __device__ __forceinline__ LaneOfTile(const std::byte* tile, int lane) : tile_(tile), lane_(lane) {
    constexpr int kVectors = kFormat == WeightFormat::kBFloat16 ? 0 : kLayout.vectors();
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const uint4 vector = VectorAt(i);
      words_[4 * i] = vector.x;
      words_[4 * i + 1] = vector.y;
      words_[4 * i + 2] = vector.z;
      words_[4 * i + 3] = vector.w;
    }
  }

  // The operands of the two instructions for features [32 * group, 32 * group + 32). `group` is a constant.
  __device__ __forceinline__ void Expand(int group, uint32_t (&first)[4], uint32_t (&second)[4]) const {
    if constexpr (kFormat == WeightFormat::kBFloat16) {
      const uint4 x = VectorAt(2 * group), y = VectorAt(2 * group + 1);
      first[0] = x.x, first[1] = x.y, first[2] = x.z, first[3] = x.w;
      second[0] = y.x, second[1] = y.y, second[2] = y.z, second[3] = y.w;
    } else if constexpr (kLayout.is_float8) {
      WidenFragment(2 * group, first);
      WidenFragment(2 * group + 1, second);
    } else {
      const int part = kLayout.scales_per_group == 2 ? 2 * group + lane_ % 4 / 2 : group;
      const int entry = part * 8 + lane_ / 4;
      const PairOfScales scales =
          LoadScales<kFormat>(tile_ + kLayout.code_bytes_of_tile() + entry * kLayout.scale_entry_bytes());
      ExpandFragment(2 * group, scales, first);
      ExpandFragment(2 * group + 1, scales, second);
    }
  }

 private:
  __device__ __forceinline__ uint4 VectorAt(int index) const {
    return *reinterpret_cast<const uint4*>(tile_ + (index * kLanes + lane_) * kVectorBytes);
  }

  __device__ __forceinline__ void ExpandFragment(int fragment, const PairOfScales& scales,
                                                 uint32_t (&registers)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float scale = scales.scales[i % 2], offset = scales.offsets[i % 2];
      registers[i] = RoundToBFloat16Pair(fmaf(scale, CenteredCode(fragment, 2 * i), offset),
                                         fmaf(scale, CenteredCode(fragment, 2 * i + 1), offset));
    }
  }

  __device__ __forceinline__ void WidenFragment(int fragment, uint32_t (&registers)[4]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      registers[i] = WidenFloat8Pair<0, 1>(words_[2 * fragment + i]);
      registers[2 + i] = WidenFloat8Pair<2, 3>(words_[2 * fragment + i]);
    }
  }

  // code - zero_point, exactly: at the end of the mantissa of a power of two a code adds itself to that. Codes of 4
  // bits stay where they are in their word as far as that has room for smaller powers; the last three are moved
  // together.
  __device__ __forceinline__ float CenteredCode(int fragment, int index) const {
    if constexpr (kLayout.code_bits == 4) {
      const uint32_t word = index < 5 ? words_[fragment] : words_[fragment] >> 12;
      const int shift = 4 * (index < 5 ? index : index - 3);
      return Centered(MaskAndSet(word, 15u << shift, PowerOfTwo(23 - shift)), 23 - shift);
    } else {
      return Centered(__byte_perm(words_[2 * fragment + index / 4], PowerOfTwo(23), 0x7440 | index % 4), 23);
    }
  }

  // The bits of 2^exponent as a float.
  static __device__ __forceinline__ constexpr uint32_t PowerOfTwo(int exponent) {
    return static_cast<uint32_t>(127 + exponent) << 23;
  }
  static __device__ __forceinline__ float Centered(uint32_t bits, int exponent) {
    return __uint_as_float(bits) - static_cast<float>((1 << exponent) + kLayout.zero_point());
  }

  const std::byte* tile_;
  int lane_;
  uint32_t words_[kFormat == WeightFormat::kBFloat16 ? 1 : 4 * kLayout.vectors()];
};

// The weight of one channel and feature of a tile, as exact as a float can be.
__device__ __forceinline__ float WeightOfTile(const WeightLayout& layout, const std::byte* tile, int channel,
                                              int feature) {
  const int bit = layout.CodeBit(channel, feature);
  if (layout.scales_per_group == 0) {
    unsigned short bits;
    memcpy(&bits, tile + bit / 8, sizeof(bits));
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
  const int code = static_cast<int>(tile[bit / 8]) >> bit % 8 & ((1 << layout.code_bits) - 1);
  const std::byte* const at = tile + layout.ScaleByte(channel, feature);
  float scale, offset = 0;
  if (layout.scale_bytes == 2) {
    unsigned short bits[3];
    memcpy(bits, at, sizeof(bits[0]));
    scale = Float16ToFloat(bits[0]);
    if (layout.has_offset) memcpy(&bits[2], at + 2 * sizeof(bits[0]), sizeof(bits[2]));
    if (layout.has_offset) offset = Float16ToFloat(bits[2]);
  } else {
    memcpy(&scale, at, sizeof(scale));
    if (layout.has_offset) memcpy(&offset, at + 2 * sizeof(scale), sizeof(offset));
  }
  // Rounded twice, as DequantizeRow does it.
  const float product = __fmul_rn(scale, static_cast<float>(code - layout.zero_point()));
  return layout.has_offset ? __fadd_rn(product, offset) : product;
}

}  // namespace quire
