// A panel of quantised weights, group by group, and what a group does with rows, in terms of `Lanes`. Part of
// matmul_kernels_impl.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace quire {
namespace {

using Floats = Lanes::Floats;
using Ints = Lanes::Ints;

constexpr int kGroupBytes = kPanelChannels * kGroupSize;  // Of codes, one byte each.

// Locality as __builtin_prefetch has it: 3 is the first cache level, 2 the second.
template <int kLocality>
void Fetch(const void* begin, int bytes) {
  for (int i = 0; i < bytes; i += 64) {
    __builtin_prefetch(static_cast<const std::byte*>(begin) + i, /*rw=*/0, kLocality);
  }
}

template <bool kFloat16>
Floats LoadScales(const std::byte* scales) {
  if constexpr (kFloat16) {
    return Lanes::LoadFloat16(reinterpret_cast<const uint16_t*>(scales));
  } else {
    return Lanes::Load(reinterpret_cast<const float*>(scales));
  }
}

// The scales of one group of a panel's weights, and its offset.
template <DType kDType>
struct GroupScales {
  static constexpr AffineFormat kFormat = AffineFormatOf(kDType);
  static constexpr int kVectorBytes = kPanelChannels * (kFormat.float16_scales ? 2 : 4);
  static constexpr int kScaleBytes = kVectorBytes * (kFormat.scales_per_group + (kFormat.has_offset ? 1 : 0));
  static constexpr int kCentre = kFormat.code_bits - 1;  // The zero point is 1 << kCentre.

  explicit GroupScales(const std::byte* group_scales) {
    for (int i = 0; i < kFormat.scales_per_group; ++i) {
      scales[i] = LoadScales<kFormat.float16_scales>(group_scales + i * kVectorBytes);
    }
    if constexpr (kFormat.has_offset) {
      offset = LoadScales<kFormat.float16_scales>(group_scales + kFormat.scales_per_group * kVectorBytes);
    }
  }

  // Codes are unsigned: what to add to their dot product with others, whose negated sum is given, for that of centred
  // ones. Formats with an offset need not be centred.
  static Ints Correction(int32_t negated_sum) {
    if constexpr (kFormat.has_offset) return Lanes::BroadcastInt(0);
    return Lanes::template ShiftLeft<kCentre>(Lanes::BroadcastInt(negated_sum));
  }
  // Adds the dot product of a part of the group (there are as many as scales), times the scales of both.
  void AddScaled(int part, Ints dot, float activation_scale, Floats* sum) const {
    const Floats scale_of_both = Lanes::Mul(scales[part], Lanes::Broadcast(activation_scale));
    *sum = Lanes::Fma(Lanes::ToFloats(dot), scale_of_both, *sum);
  }
  void AddOffset(float scaled_sum, Floats* sum) const {
    if constexpr (kFormat.has_offset) *sum = Lanes::Fma(offset, Lanes::Broadcast(scaled_sum), *sum);
  }

  Floats scales[kFormat.scales_per_group];
  Floats offset;  // Where the format has one.
};

// Sums of rows, 16 channels each: Update(i, add) calls add(&sum of row i).

template <int kRows>
struct SumsInRegisters {
  SumsInRegisters() {
#pragma GCC unroll 8
    for (Floats& sum : sums) sum = Lanes::Broadcast(0);
  }
  template <typename Add>
  [[gnu::always_inline]] void Update(int i, Add add) {
    add(&sums[i]);
  }

  Floats sums[kRows];
};

struct SumsInMemory {
  template <typename Add>
  [[gnu::always_inline]] void Update(int i, Add add) {
    Floats sum = Lanes::Load(rows[i]);
    add(&sum);
    Lanes::Store(sum, rows[i]);
  }

  float (*rows)[kPanelChannels];
};

// One group of a panel's weights, in codes of so many bits: the format's, or bytes that these were unpacked to.
template <DType kDType, int kCodeBits = AffineFormatOf(kDType).code_bits>
struct WeightGroup : GroupScales<kDType> {
  using Scales = GroupScales<kDType>;
  using Scales::kFormat;
  static constexpr int kCodeBytes = kGroupBytes * kCodeBits / 8;

  WeightGroup(const std::byte* group_scales, const void* group_codes)
      : Scales(group_scales), codes(Lanes::template LoadCodes<kCodeBits>(static_cast<const uint8_t*>(group_codes))) {}

  // Adds to the i-th sum the products with row first + i of `rows`, times the scales of both, and then the weights'
  // offset times scaled_sums[first + i], unless that is null. Inlined, or sums and dot products go through memory.
  template <int kRows, typename Sums>
  [[gnu::always_inline]] void MultiplyAdd(const QuantizedGroup& rows, const float* scaled_sums, int first,
                                          Sums& sums) const {
    const int32_t* const negated_sums = rows.negated_sums + first;
    if constexpr (kFormat.scales_per_group == 1) {
      AddPart<0, 8, kRows>(rows, negated_sums, scaled_sums, first, sums);
    } else {
      const int32_t* const negated_half_sums = rows.negated_half_sums + first;
      int32_t negated_rest[kRows];
      for (int i = 0; i < kRows; ++i) negated_rest[i] = negated_sums[i] - negated_half_sums[i];
      AddPart<0, 4, kRows>(rows, negated_half_sums, nullptr, first, sums);
      AddPart<4, 4, kRows>(rows, negated_rest, scaled_sums, first, sums);
    }
  }

  typename Lanes::template Codes<kCodeBits> codes;

 private:
  // Of features [4 * kFirst, 4 * (kFirst + kCount)), the sums of whose codes are given.
  template <int kFirst, int kCount, int kRows, typename Sums>
  [[gnu::always_inline]] void AddPart(const QuantizedGroup& rows, const int32_t* negated_sums, const float* scaled_sums,
                                      int first, Sums& sums) const {
    constexpr int kBlock = kRows < Lanes::kDotRows ? kRows : Lanes::kDotRows;
    for (int block = 0; block < kRows; block += kBlock, first += kBlock) {
      Ints dots[kBlock];
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) dots[i] = Scales::Correction(negated_sums[block + i]);
      Lanes::template AddDots<kCodeBits, kFirst, kCount, kBlock>(codes, rows.codes + first, dots);
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) {
        sums.Update(block + i, [&](Floats* sum) {
          this->AddScaled(kFirst / 4, dots[i], rows.scales[first + i], sum);
          if (scaled_sums != nullptr) this->AddOffset(scaled_sums[first + i], sum);
        });
      }
    }
  }
};

// A quantised panel, group by group.
template <DType kDType>
struct WeightPanel {
  using Packed = WeightPanel;
  using Group = WeightGroup<kDType>;

  WeightPanel(const std::byte* panel, int64_t cols) : scales(panel), codes(panel + PanelCodesOffset(kDType, cols)) {}

  const std::byte* ScalesAt(int64_t i) const { return scales + i * Group::kScaleBytes; }
  GroupScales<kDType> Scales(int64_t i) const { return GroupScales<kDType>(ScalesAt(i)); }
  const std::byte* Codes(int64_t i) const { return codes + i * Group::kCodeBytes; }
  Group Load(int64_t i) const { return {ScalesAt(i), Codes(i)}; }
  // Into the second cache level: the first is too small for what is fetched a panel ahead.
  void FetchGroup(int64_t i) const {
    Fetch<2>(ScalesAt(i), Group::kScaleBytes);
    Fetch<2>(Codes(i), Group::kCodeBytes);
  }

  const std::byte* scales;
  const std::byte* codes;
};

// A panel that is unpacked to bytes as it is loaded, for those who come after: UnpackedPanel.
template <DType kDType>
struct UnpackingPanel {
  using Packed = WeightPanel<kDType>;

  WeightGroup<kDType> Load(int64_t i) const {
    const WeightGroup<kDType> group = packed.Load(i);
    group.codes.Store(bytes + i * kGroupBytes);
    return group;
  }

  const Packed& packed;
  uint8_t* bytes;
};

template <DType kDType>
struct UnpackedPanel {
  using Packed = WeightPanel<kDType>;

  WeightGroup<kDType, 8> Load(int64_t i) const { return {packed.ScalesAt(i), bytes + i * kGroupBytes}; }

  const Packed& packed;
  const uint8_t* bytes;
};

}  // namespace
}  // namespace quire
