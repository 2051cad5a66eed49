// The kernels of MatMulKernels in terms of `Lanes`, sixteen lanes of some instruction set. Included once by each
// matmul_kernels_<set>.cc after its lanes; everything is local to that file, since it is compiled for that set alone.
#pragma once

#include <cstddef>
#include <type_traits>

#include "kernels/cpu/lanes_sum.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/weight_panel_impl.h"

namespace quire {
namespace {

constexpr int32_t kInfinityBits = 0x7f800000;
constexpr float kMaxCode = 127;
// Residuals are at most half a code.
constexpr float kResidualCodes = 2 * kMaxCode;

// Into the first cache level.
void FetchRows(const ActivationGroup& group, int first, int rows) {
  Fetch<3>(group.codes + first, rows * kGroupSize);
  Fetch<3>(group.scales, sizeof(group) - sizeof(group.codes));
}

constexpr int kMostTileRows = Lanes::kDotRows > kTileRows ? Lanes::kDotRows : kTileRows;

// A chunk's rows lie in the second cache level. Beyond the last group fetching has no effect.
constexpr int kGroupsAhead = 3;

// For rows first + i of a block, of which there are kRows, adds to sums i the products with the panel.
template <int kRows, typename Panel, typename Sums>
[[gnu::always_inline]] inline void AddTile(const Panel& panel, const typename Panel::Packed* next, int64_t num_groups,
                                           const ActivationGroup* block, int first, Sums& sums) {
  for (int64_t i = 0; i < num_groups; ++i) {
    if (next != nullptr) next->FetchGroup(i);
    if constexpr (kRows >= kTileRows) FetchRows(block[i + kGroupsAhead], first, kRows);
    // More than a tile's sums do not fit in registers beside the dot products; the compiler would hold them there from
    // group to group, had they not changed meanwhile.
    if constexpr (kRows > kTileRows)
      asm volatile("" : "+m"(*reinterpret_cast<float(*)[kRows][kPanelChannels]>(sums.rows)));
    panel.Load(i).template MultiplyAdd<kRows>(block[i], block[i].scaled_sums, first, sums);
  }
}

// out[i] = the products of row first + i of a block, of kRows of them.
template <int kRows, typename Panel>
void MultiplyTile(const Panel& panel, const typename Panel::Packed* next, int64_t num_groups,
                  const ActivationGroup* block, int first, float (*out)[kPanelChannels]) {
  if constexpr (kRows > kTileRows) {
    static_assert(kRows == kBlockRows);
    for (int row = 0; row < kRows; ++row) Lanes::Store(Lanes::Broadcast(0), out[row]);
    SumsInMemory sums{out};
    AddTile<kRows>(panel, next, num_groups, block, /*first=*/0, sums);
  } else {
    SumsInRegisters<kRows> sums;
    AddTile<kRows>(panel, next, num_groups, block, first, sums);
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) Lanes::Store(sums.sums[row], out[row]);
  }
}

// The products of a chunk of one row, residuals and all: its time is that of reading the panel, which is done once.
template <DType kDType>
void MultiplyRow(const WeightPanel<kDType>& panel, const WeightPanel<kDType>* next, int64_t num_groups,
                 const ActivationChunk& chunk, float* out) {
  SumsInRegisters<1> sum, residual_sum;
  for (int64_t i = 0; i < num_groups; ++i) {
    if (next != nullptr) next->FetchGroup(i);
    const auto weights = panel.Load(i);
    const ActivationGroup& row = chunk.groups[i];
    weights.template MultiplyAdd<1>(row, row.scaled_sums, 0, sum);
    if (chunk.residuals.counts[i].value > 0) {
      weights.template MultiplyAdd<1>(chunk.residuals.blocks[i * chunk.residuals.num_blocks], nullptr, 0, residual_sum);
    }
  }
  Lanes::Store(Lanes::Add(sum.sums[0], residual_sum.sums[0]), out);
}

// Adds to products[row] those of the chunk's residuals. add(i, block, entry, sum): the i-th group's with one of them.
template <typename Add>
void AddResiduals(int64_t num_groups, const ActivationChunk& chunk, PanelProducts& products, Add add) {
  alignas(64) float sums[kMaxChunkRows][kPanelChannels];
  for (int row = 0; row < chunk.rows; ++row) Lanes::Store(Lanes::Broadcast(0), sums[row]);
  for (int64_t i = 0; i < num_groups; ++i) {
    const ResidualGroup* block = chunk.residuals.blocks + i * chunk.residuals.num_blocks;
    for (int left = chunk.residuals.counts[i].value; left > 0; left -= kBlockRows, ++block) {
      add(i, *block, left < kBlockRows ? left : kBlockRows, sums);
    }
  }
  for (int row = 0; row < chunk.rows; ++row) {
    Lanes::Store(Lanes::Add(Lanes::Load(products.rows[row]), Lanes::Load(sums[row])), products.rows[row]);
  }
}

template <int kRows>
using RowCount = std::integral_constant<int, kRows>;

// The sums of some rows of a chunk.
struct ListedSums {
  template <typename Add>
  [[gnu::always_inline]] void Update(int i, Add add) {
    SumsInMemory{sums}.Update(rows[i], add);
  }

  float (*sums)[kPanelChannels];
  const int32_t* rows;
};

// The same for `count` residuals of a group.
template <typename Group>
void AddResidualGroup(const Group& weights, const ResidualGroup& block, int count, float (*sums)[kPanelChannels]) {
  const auto add = [&](auto rows, int first) {
    ListedSums listed{sums, block.rows + first};
    weights.template MultiplyAdd<rows.value>(block, nullptr, first, listed);
  };
  int i = 0;
  for (; i + Lanes::kResidualRows <= count; i += Lanes::kResidualRows) add(RowCount<Lanes::kResidualRows>(), i);
  for (; i < count; ++i) add(RowCount<1>(), i);
}

// The block that row `first` of a chunk is in.
const ActivationGroup* BlockOf(const ActivationChunk& chunk, int64_t num_groups, int first) {
  return chunk.groups + first / kBlockRows * num_groups;
}

// Calls multiply(number of rows, first row) for tile after tile, the number being 1, 2, 4, 8 or 16, but not above
// kMostRows, and at least as many as there are: the rows that pad a tile are multiplied as well.
template <int kMostRows, typename Function>
void ForEachTile(int rows, Function multiply) {
  static_assert(kTileRows == 8 && kBlockRows == 16);
  int first = 0;
  if constexpr (kMostRows == kBlockRows) {
    for (; rows - first > kTileRows + 4; first += kBlockRows) multiply(RowCount<16>(), first);
  }
  for (; rows - first > 4; first += kTileRows) multiply(RowCount<8>(), first);
  if (rows - first > 2) return multiply(RowCount<4>(), first);
  if (rows - first > 1) return multiply(RowCount<2>(), first);
  if (rows - first > 0) return multiply(RowCount<1>(), first);
}

// The products of a chunk's rows from `done` on, and all residuals.
template <typename Panel>
void MultiplyRows(const Panel& panel, const typename Panel::Packed* next, int64_t num_groups,
                  const ActivationChunk& chunk, int done, PanelProducts& products) {
  ForEachTile<kMostTileRows>(chunk.rows - done, [&](auto rows, int first) {
    MultiplyTile<rows.value>(panel, first == 0 ? next : nullptr, num_groups, BlockOf(chunk, num_groups, done + first),
                             first % kBlockRows, products.rows + done + first);
  });
  AddResiduals(num_groups, chunk, products, [&](int64_t i, const ResidualGroup& block, int count, auto* sums) {
    AddResidualGroup(panel.Load(i), block, count, sums);
  });
}

template <DType kDType>
void MultiplyQuantized(const std::byte* panel, const std::byte* next, int64_t cols, const ActivationChunk& chunk,
                       PanelProducts& products) {
  const int64_t num_groups = cols / kGroupSize;
  const WeightPanel<kDType> weights(panel, cols), next_weights(next, cols);
  const WeightPanel<kDType>* fetched = next != nullptr ? &next_weights : nullptr;
  if (chunk.rows == 1) return MultiplyRow(weights, fetched, num_groups, chunk, products.rows[0]);
  if constexpr (kMostTileRows == kBlockRows && AffineFormatOf(kDType).code_bits == 4) {
    // The first block unpacks the panel for the others and the residuals.
    if (chunk.rows > kTileRows + 4) {
      auto* const bytes = reinterpret_cast<uint8_t*>(chunk.scratch);
      MultiplyTile<kBlockRows>(UnpackingPanel<kDType>{weights, bytes}, fetched, num_groups, chunk.groups, 0,
                               products.rows);
      return MultiplyRows(UnpackedPanel<kDType>{weights, bytes}, nullptr, num_groups, chunk, kBlockRows, products);
    }
  }
  MultiplyRows(weights, fetched, num_groups, chunk, 0, products);
}

template <DType kDType, int kRows>
void MultiplyFloatTile(const std::byte* panel, int64_t cols, const float* activations, float (*out)[kPanelChannels]) {
  Floats sums[kRows];
  for (int row = 0; row < kRows; ++row) sums[row] = Lanes::Broadcast(0);
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
  for (int row = 0; row < kRows; ++row) Lanes::Store(sums[row], out[row]);
}

template <DType kDType>
void MultiplyFloat(const std::byte* panel, const std::byte*, int64_t cols, const ActivationChunk& chunk,
                   PanelProducts& products) {
  ForEachTile<kTileRows>(chunk.rows, [&](auto rows, int first) {
    MultiplyFloatTile<kDType, rows.value>(panel, cols, chunk.floats + first * cols, products.rows + first);
  });
}

template <bool kAdd>
void StoreRows(const PanelProducts& products, int rows, float* output, int64_t stride) {
  for (int row = 0; row < rows; ++row, output += stride) {
    Floats values = Lanes::Load(products.rows[row]);
    if constexpr (kAdd) values = Lanes::Add(Lanes::Load(output), values);
    Lanes::Store(values, output);
  }
}

struct GroupValues {
  Floats low, high;
};

struct CodeSums {
  int32_t first_half, all;
};

CodeSums StoreCodes(GroupValues& values, int8_t* codes) {
  const Ints low = Lanes::Round(values.low), high = Lanes::Round(values.high);
  Lanes::StoreInt8(low, codes);
  Lanes::StoreInt8(high, codes + 16);
  const Floats minus_one = Lanes::Broadcast(-1);
  values.low = Lanes::Fma(Lanes::ToFloats(low), minus_one, values.low);
  values.high = Lanes::Fma(Lanes::ToFloats(high), minus_one, values.high);
  const int32_t half_sum = Lanes::ReduceAdd(low);
  return {half_sum, half_sum + Lanes::ReduceAdd(high)};
}

void Scale(float factor, GroupValues& values) {
  values.low = Lanes::Mul(values.low, Lanes::Broadcast(factor));
  values.high = Lanes::Mul(values.high, Lanes::Broadcast(factor));
}

// Rounds values to the codes of row `row` of a group, and leaves what rounding took away in their place. Returns the
// sum of the values that the codes stand for.
float StoreRow(GroupValues& values, float scale, int row, QuantizedGroup& group) {
  const CodeSums sums = StoreCodes(values, group.codes[row]);
  group.scales[row] = scale;
  group.negated_sums[row] = -sums.all;
  group.negated_half_sums[row] = -sums.first_half;
  return scale * static_cast<float>(sums.all);
}

float AppendResidual(GroupValues& rest, float scale, int row, int64_t group, const ResidualLists& lists) {
  const int index = lists.counts[group].value++;
  ResidualGroup& block = lists.blocks[group * lists.num_blocks + index / kBlockRows];
  block.rows[index % kBlockRows] = row;
  Scale(kResidualCodes, rest);
  return StoreRow(rest, scale * (1.0f / kResidualCodes), index % kBlockRows, block);
}

// REQUIRES: cols is a multiple of 32.
void Quantize(const float* input, int64_t cols, int64_t begin, int64_t end, int row, ActivationGroup* block,
              const ResidualLists& residuals) {
  Floats squares = Lanes::Broadcast(0);
  for (int64_t i = 0; i < cols; i += 16) {
    const Floats x = Lanes::Load(input + i);
    squares = Lanes::Fma(x, x, squares);
  }
  const float least_peak = kPeakToRms * __builtin_sqrtf(SumOfLanes(squares) / static_cast<float>(cols));
  for (int64_t i = begin; i < end; ++i) {
    GroupValues values = {Lanes::Load(input + i * kGroupSize), Lanes::Load(input + i * kGroupSize + 16)};
    // Compared as bits, magnitudes are in order, infinity and NaN the greatest, so that neither can be lost.
    const int32_t bits =
        Lanes::ReduceMax(Lanes::MaxInt(Lanes::MagnitudeBits(values.low), Lanes::MagnitudeBits(values.high)));
    float peak;
    __builtin_memcpy(&peak, &bits, sizeof(peak));
    if (bits >= kInfinityBits) [[unlikely]] {
      values.low = values.high = Lanes::Broadcast(0);
      peak = __builtin_nanf("");
    }
    // The reciprocal of what is smaller would overflow; such a group counts as zeros.
    Scale(peak > 1e-33f ? kMaxCode / peak : 0, values);
    if (row == 0) residuals.counts[i].value = 0;
    const float scale = peak * (1.0f / kMaxCode);
    float scaled_sum = StoreRow(values, scale, row % kBlockRows, block[i]);
    if (peak > least_peak) scaled_sum += AppendResidual(values, scale, row, i, residuals);
    block[i].scaled_sums[row % kBlockRows] = scaled_sum;
  }
}

// Reads the last, partial vector of a row as if zeros followed.
Floats LoadFirst(const float* p, int64_t count) {
  float padded[16] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return Lanes::Load(padded);
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
  const float scale = 1 / __builtin_sqrtf(SumOfLanes(squares) / static_cast<float>(cols) + epsilon);
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
  if constexpr (IsQuantized(kDType)) {
    kernels.multiply[static_cast<int>(kDType)] = MultiplyQuantized<kDType>;
  } else {
    kernels.multiply[static_cast<int>(kDType)] = MultiplyFloat<kDType>;
  }
}

constexpr MatMulKernels MakeKernels() {
  MatMulKernels kernels = {};
  kernels.max_chunk_rows = 64;
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
  kernels.multiply[static_cast<int>(DType::kQ5_0)] = MultiplyQuantized<DType::kQ8_0>;
  kernels.store = StoreRows</*kAdd=*/false>;
  kernels.add = StoreRows</*kAdd=*/true>;
  kernels.quantize = Quantize;
  kernels.normalize = Normalize;
  kernels.silu_gate = SiluGate;
  kernels.gelu_gate = GeluGate;
  return kernels;
}

}  // namespace
}  // namespace quire
