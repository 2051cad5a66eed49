// The kernels of MatMulKernels in terms of `Lanes`, sixteen lanes of some instruction set. Included once by each
// matmul_kernels_<set>.cc after its lanes; everything is local to that file, since it is compiled for that set alone.
#pragma once

#include "kernels/cpu/matmul_kernels.h"

namespace quire {
namespace {

using Floats = Lanes::Floats;
using Ints = Lanes::Ints;

constexpr int32_t kInfinityBits = 0x7f800000;
constexpr float kMaxCode = 127 * 128;  // Of an activation; see ActivationGroup.
constexpr int kSecondLevelCache = 2;   // A locality of __builtin_prefetch.

template <bool kFloat16>
Floats LoadScales(const std::byte* scales) {
  if constexpr (kFloat16) {
    return Lanes::LoadFloat16(reinterpret_cast<const uint16_t*>(scales));
  } else {
    return Lanes::Load(reinterpret_cast<const float*>(scales));
  }
}

// Adds to dots[row] the products of features [4 * kFirst, 4 * (kFirst + kCount)) of a group.
template <int kCodeBits, int kFirst, int kCount, int kRows>
void AddBothDots(const uint8_t* codes, const ActivationGroup& activations, Ints* dots) {
  Ints coarse[kRows];
  for (int row = 0; row < kRows; ++row) coarse[row] = Lanes::BroadcastInt(0);
  Lanes::template AddDots<kCodeBits, kFirst, kCount, kRows>(codes, activations.coarse, coarse);
  Lanes::template AddDots<kCodeBits, kFirst, kCount, kRows>(codes, activations.fine, dots);
  for (int row = 0; row < kRows; ++row) {
    dots[row] = Lanes::AddInt(dots[row], Lanes::template ShiftLeft<7>(coarse[row]));
  }
}

template <DType kDType, int kRows>
void MultiplyQuantized(const std::byte* panel, int64_t cols, const ActivationTile& tile, PanelProducts& out) {
  constexpr AffineFormat kFormat = AffineFormatOf(kDType);
  constexpr int kScaleBytes = kPanelChannels * (kFormat.float16_scales ? 2 : 4);
  constexpr int kCodeBytes = kPanelChannels * kGroupSize * kFormat.code_bits / 8;
  constexpr int kCentre = kFormat.code_bits - 1;  // The zero point is 1 << kCentre.
  const std::byte* scales = panel;
  const auto* codes = reinterpret_cast<const uint8_t*>(panel + PanelCodesOffset(kDType, cols));

  // The panel after this one is fetched meanwhile: processors' own prefetching stops at every page and starts slowly.
  // Beyond the last panel it has no effect.
  const int64_t panel_bytes = PanelBytes(kDType, cols);
  Floats sums[kRows];
  for (int row = 0; row < kRows; ++row) sums[row] = Lanes::Broadcast(0);
  const ActivationGroup* end = tile.groups + cols / kGroupSize;
  for (const ActivationGroup* group = tile.groups; group != end; ++group, codes += kCodeBytes) {
    for (int i = 0; i < kCodeBytes; i += 64) __builtin_prefetch(codes + panel_bytes + i, 0, kSecondLevelCache);
    __builtin_prefetch(scales + panel_bytes, 0, kSecondLevelCache);
    Ints dots[kRows];
    // Codes are unsigned; starting at -zero_point * sum(activations) makes the dot product that of the centred ones.
    const auto start_at = [&dots](const int32_t* negated_sums) {
      for (int row = 0; row < kRows; ++row) {
        dots[row] = Lanes::BroadcastInt(0);
        if constexpr (!kFormat.has_offset) {
          dots[row] = Lanes::template ShiftLeft<kCentre>(Lanes::BroadcastInt(negated_sums[row]));
        }
      }
    };
    const auto add_scaled = [&] {
      const Floats scale = LoadScales<kFormat.float16_scales>(scales);
      scales += kScaleBytes;
      for (int row = 0; row < kRows; ++row) {
        const Floats scale_of_both = Lanes::Mul(scale, Lanes::Broadcast(group->scales[row]));
        sums[row] = Lanes::Fma(Lanes::ToFloats(dots[row]), scale_of_both, sums[row]);
      }
    };
    if constexpr (kFormat.scales_per_group == 1) {
      start_at(group->negated_sums);
      AddBothDots<kFormat.code_bits, 0, 8, kRows>(codes, *group, dots);
      add_scaled();
    } else {
      start_at(group->negated_half_sums);
      AddBothDots<kFormat.code_bits, 0, 4, kRows>(codes, *group, dots);
      add_scaled();
      int32_t negated_sums[kRows];
      for (int row = 0; row < kRows; ++row) {
        negated_sums[row] = group->negated_sums[row] - group->negated_half_sums[row];
      }
      start_at(negated_sums);
      AddBothDots<kFormat.code_bits, 4, 4, kRows>(codes, *group, dots);
      add_scaled();
    }
    if constexpr (kFormat.has_offset) {
      const Floats offset = LoadScales<kFormat.float16_scales>(scales);
      scales += kScaleBytes;
      for (int row = 0; row < kRows; ++row) {
        sums[row] = Lanes::Fma(offset, Lanes::Broadcast(group->scaled_sums[row]), sums[row]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) Lanes::Store(sums[row], out.rows[row]);
}

template <DType kDType, int kRows>
void MultiplyFloat(const std::byte* panel, int64_t cols, const ActivationTile& tile, PanelProducts& out) {
  Floats sums[kRows];
  for (int row = 0; row < kRows; ++row) sums[row] = Lanes::Broadcast(0);
  const float* activations = tile.floats;
  for (int64_t col = 0; col < cols; ++col, activations += kTileRows) {
    Floats weights;
    if constexpr (kDType == DType::kF32) {
      weights = Lanes::Load(reinterpret_cast<const float*>(panel) + col * kPanelChannels);
    } else {
      const auto* halves = reinterpret_cast<const uint16_t*>(panel) + col * kPanelChannels;
      weights = kDType == DType::kF16 ? Lanes::LoadFloat16(halves) : Lanes::LoadBFloat16(halves);
    }
    for (int row = 0; row < kRows; ++row) {
      sums[row] = Lanes::Fma(weights, Lanes::Broadcast(activations[row]), sums[row]);
    }
  }
  for (int row = 0; row < kRows; ++row) Lanes::Store(sums[row], out.rows[row]);
}

// Splits sixteen codes, from `feature` on, into 128 * coarse + fine.
void StoreCodes(Ints codes, ActivationGroup& group, int row, int feature) {
  const Ints coarse = Lanes::template ShiftRight<7>(Lanes::AddInt(codes, Lanes::BroadcastInt(64)));
  const Ints fine = Lanes::SubInt(codes, Lanes::template ShiftLeft<7>(coarse));
  Lanes::StoreInt8(coarse, group.coarse[row] + feature);
  Lanes::StoreInt8(fine, group.fine[row] + feature);
}

void Quantize(const float* input, int64_t cols, int row, ActivationGroup* tile) {
  const ActivationGroup* end = tile + cols / kGroupSize;
  for (ActivationGroup* group = tile; group != end; ++group, input += kGroupSize) {
    Floats low = Lanes::Load(input), high = Lanes::Load(input + 16);
    // Compared as bits, magnitudes are in order, infinity and NaN the greatest, so that neither can be lost.
    const int32_t bits = Lanes::ReduceMax(Lanes::MaxInt(Lanes::MagnitudeBits(low), Lanes::MagnitudeBits(high)));
    float max;
    __builtin_memcpy(&max, &bits, sizeof(max));
    if (bits >= kInfinityBits) [[unlikely]] {
      low = high = Lanes::Broadcast(0);
      max = __builtin_nanf("");
    }
    // The reciprocal of what is smaller would overflow; such a group counts as zeros.
    const Floats inverse = Lanes::Broadcast(max > 1e-33f ? kMaxCode / max : 0);
    const Ints low_codes = Lanes::Round(Lanes::Mul(low, inverse));
    const Ints high_codes = Lanes::Round(Lanes::Mul(high, inverse));
    StoreCodes(low_codes, *group, row, 0);
    StoreCodes(high_codes, *group, row, 16);
    const int32_t sum = Lanes::ReduceAdd(Lanes::AddInt(low_codes, high_codes));
    const float scale = max * (1.0f / kMaxCode);
    group->scales[row] = scale;
    group->scaled_sums[row] = scale * static_cast<float>(sum);
    group->negated_sums[row] = -sum;
    group->negated_half_sums[row] = -Lanes::ReduceAdd(low_codes);
  }
}

// Reads the last, partial vector of a row as if zeros followed.
Floats LoadFirst(const float* p, int64_t count) {
  float padded[16] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return Lanes::Load(padded);
}

float ReduceAdd(Floats x) {
  float lanes[16];
  Lanes::Store(x, lanes);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

void Normalize(const float* input, const float* weight, float epsilon, int64_t cols, float* output) {
  Floats squares = Lanes::Broadcast(0);
  int64_t i = 0;
  for (; i + 16 <= cols; i += 16) {
    const Floats x = Lanes::Load(input + i);
    squares = Lanes::Fma(x, x, squares);
  }
  if (i < cols) {
    const Floats x = LoadFirst(input + i, cols - i);
    squares = Lanes::Fma(x, x, squares);
  }
  const float scale = 1 / __builtin_sqrtf(ReduceAdd(squares) / static_cast<float>(cols) + epsilon);
  const Floats scales = Lanes::Broadcast(scale);
  for (i = 0; i + 16 <= cols; i += 16) {
    Lanes::Store(Lanes::Mul(Lanes::Mul(Lanes::Load(input + i), scales), Lanes::Load(weight + i)), output + i);
  }
  for (; i < cols; ++i) output[i] = input[i] * scale * weight[i];
}

// exp(x) = 2^n * exp(r) with |r| <= ln(2) / 2 and exp(r) by its Taylor polynomial, exact to about an ulp. Arguments are
// clamped to where the result is a normal number.
Floats Exp(Floats x) {
  x = Lanes::Clamp(x, -87.0f, 88.0f);
  const Ints n = Lanes::Round(Lanes::Mul(x, Lanes::Broadcast(1.44269504f)));
  // ln(2) in two parts, the first with trailing zeros enough for its product with n to be exact.
  Floats r = Lanes::Fma(Lanes::ToFloats(n), Lanes::Broadcast(-0.693359375f), x);
  r = Lanes::Fma(Lanes::ToFloats(n), Lanes::Broadcast(2.12194440e-4f), r);
  Floats sum = Lanes::Broadcast(1.0f / 5040);
  constexpr float kCoefficients[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (float coefficient : kCoefficients) {
    sum = Lanes::Fma(sum, r, Lanes::Broadcast(coefficient));
  }
  const Floats power = Lanes::AsFloats(Lanes::template ShiftLeft<23>(Lanes::AddInt(n, Lanes::BroadcastInt(127))));
  return Lanes::Mul(sum, power);
}

Floats TimesSigmoid(Floats x, Floats argument) {
  const Floats one = Lanes::Broadcast(1);
  return Lanes::Div(x, Lanes::Add(one, Exp(Lanes::Mul(argument, Lanes::Broadcast(-1)))));
}

void SiluGate(float* gate, const float* up) {
  const Floats x = Lanes::Load(gate);
  Lanes::Store(Lanes::Mul(TimesSigmoid(x, x), Lanes::Load(up)), gate);
}

// 0.5 * x * (1 + tanh(z)) = x * sigmoid(2z) with z = sqrt(2 / pi) * (x + 0.044715 * x^3).
void GeluGate(float* gate, const float* up) {
  const Floats x = Lanes::Load(gate);
  const Floats cubic = Lanes::Fma(Lanes::Mul(x, x), Lanes::Broadcast(0.044715f), Lanes::Broadcast(1));
  const Floats argument = Lanes::Mul(Lanes::Mul(x, cubic), Lanes::Broadcast(2 * 0.797884561f));
  Lanes::Store(Lanes::Mul(TimesSigmoid(x, argument), Lanes::Load(up)), gate);
}

template <DType kDType>
constexpr void SetMultiply(MatMulKernels& kernels) {
  auto& row = kernels.multiply[static_cast<int>(kDType)];
  if constexpr (IsQuantized(kDType)) {
    row[0] = MultiplyQuantized<kDType, 1>;
    row[1] = MultiplyQuantized<kDType, 2>;
    row[2] = MultiplyQuantized<kDType, 4>;
    row[3] = MultiplyQuantized<kDType, 8>;
  } else {
    row[0] = MultiplyFloat<kDType, 1>;
    row[1] = MultiplyFloat<kDType, 2>;
    row[2] = MultiplyFloat<kDType, 4>;
    row[3] = MultiplyFloat<kDType, 8>;
  }
}

constexpr MatMulKernels MakeKernels() {
  MatMulKernels kernels = {};
  SetMultiply<DType::kF32>(kernels);
  SetMultiply<DType::kF16>(kernels);
  SetMultiply<DType::kBF16>(kernels);
  SetMultiply<DType::kQ8_0>(kernels);
  SetMultiply<DType::kQ4_0>(kernels);
  SetMultiply<DType::kQ4_1>(kernels);
  SetMultiply<DType::kQ5_1>(kernels);
  SetMultiply<DType::kQ4_K>(kernels);
  SetMultiply<DType::kQ5_K>(kernels);
  SetMultiply<DType::kQ6_K>(kernels);
  // The same affine format, and so the same code.
  for (int i = 0; i < 4; ++i) {
    kernels.multiply[static_cast<int>(DType::kQ5_0)][i] = kernels.multiply[static_cast<int>(DType::kQ8_0)][i];
  }
  kernels.quantize = Quantize;
  kernels.normalize = Normalize;
  kernels.silu_gate = SiluGate;
  kernels.gelu_gate = GeluGate;
  return kernels;
}

}  // namespace
}  // namespace quire
