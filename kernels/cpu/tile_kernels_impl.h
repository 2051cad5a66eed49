// The products of many rows with quantised weights in terms of `Tiles`, the eight tile registers:
//
//   Tiles::Configure(const TileConfig&), Tiles::Release()
//   Tiles::Zero<kTile>(), Tiles::Load<kTile>(from, row stride in bytes), Tiles::Store<kTile>(to, row stride in bytes)
//   Tiles::MultiplyAdd<kSums, kRows, kWeights>()    adds to sums, as TDPBSUD
//
// One instruction makes the dot products of one group: of 16 rows with 16 channels. They are whole numbers, so that
// with the vectors' own arithmetic around them every bit is the same as without tiles, and how many rows there are can
// decide who multiplies them. A panel's 8-bit codes are a tile as they lie; 4-bit ones are unpacked first, once for all
// rows of a chunk.
//
// Included after "kernels/cpu/matmul_kernels_impl.h" with the lanes of AVX-512, which every processor with such tiles
// has; everything is local to the including file.
#pragma once

#include <cstddef>

#include "kernels/cpu/tile_config.h"

namespace quire {
namespace {

// Fewer rows are multiplied sooner by vectors than their weights are unpacked and their products stored for tiles; of
// residuals, whose weights are unpacked already, fewer than the second number.
constexpr int kLeastTileRows = 12, kLeastTileResiduals = 6;

constexpr int kQuadBytes = 4 * kPanelChannels;  // Four features of each channel.
constexpr int kSumsTile = 0, kRowsTile = 1, kWeightsTile = 2;

// Shapes for products of `features` features.
TileConfig ConfigFor(int features) {
  TileConfig config;
  const auto set = [&config](int tile, int rows, int row_bytes) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
  };
  set(kSumsTile, kBlockRows, kPanelChannels * sizeof(int32_t));
  set(kRowsTile, kBlockRows, features);
  set(kWeightsTile, features / 4, kQuadBytes);
  return config;
}

// The dot products of a group of weights with kBlockRows rows, part by part (as many as the weights have scales).
template <DType kDType>
struct GroupDots {
  using Scales = GroupScales<kDType>;
  static constexpr int kParts = Scales::kFormat.scales_per_group;
  static constexpr int kFeatures = kGroupSize / kParts;

  template <typename Tiles>
  void Multiply(const QuantizedGroup& rows, const uint8_t* codes) {
#pragma GCC unroll 2
    for (int part = 0; part < kParts; ++part) {
      Tiles::template Load<kRowsTile>(rows.codes[0] + part * kFeatures, kGroupSize);
      Tiles::template Load<kWeightsTile>(codes + part * kFeatures * kPanelChannels, kQuadBytes);
      Tiles::template Zero<kSumsTile>();
      Tiles::template MultiplyAdd<kSumsTile, kRowsTile, kWeightsTile>();
      Tiles::template Store<kSumsTile>(parts[part], sizeof(parts[part][0]));
    }
  }

  // Adds to *sum the products with row i, times the scales of both, as WeightGroup::MultiplyAdd does.
  void AddTo(const Scales& scales, const QuantizedGroup& rows, int i, Floats* sum) const {
    if constexpr (kParts == 1) {
      scales.AddScaled(0, Dot(0, i, rows.negated_sums[i]), rows.scales[i], sum);
    } else {
      scales.AddScaled(0, Dot(0, i, rows.negated_half_sums[i]), rows.scales[i], sum);
      scales.AddScaled(1, Dot(1, i, rows.negated_sums[i] - rows.negated_half_sums[i]), rows.scales[i], sum);
    }
  }

  alignas(64) int32_t parts[kParts][kBlockRows][kPanelChannels];

 private:
  Ints Dot(int part, int i, int32_t negated_sum) const {
    const Ints dot = _mm512_load_si512(parts[part][i]);
    if constexpr (Scales::kFormat.has_offset) return dot;
    return Lanes::AddInt(dot, Scales::Correction(negated_sum));
  }
};

// out[row] = the products of a block of rows.
template <typename Tiles, DType kDType>
void MultiplyBlock(const WeightPanel<kDType>& panel, const WeightPanel<kDType>* next, const uint8_t* codes,
                   int64_t num_groups, const ActivationGroup* block, float (*out)[kPanelChannels]) {
  GroupDots<kDType> dots;
  Floats sums[kBlockRows];
#pragma GCC unroll 16
  for (int row = 0; row < kBlockRows; ++row) sums[row] = Lanes::Broadcast(0);
  for (int64_t i = 0; i < num_groups; ++i) {
    if (next != nullptr) next->FetchGroup(i);
    FetchRows(block[i + kGroupsAhead], 0, kBlockRows);
    dots.template Multiply<Tiles>(block[i], codes + i * kGroupBytes);
    const GroupScales<kDType> scales = panel.Scales(i);
#pragma GCC unroll 16
    for (int row = 0; row < kBlockRows; ++row) {
      dots.AddTo(scales, block[i], row, &sums[row]);
      scales.AddOffset(block[i].scaled_sums[row], &sums[row]);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < kBlockRows; ++row) Lanes::Store(sums[row], out[row]);
}

// As AddResidualGroup. A tile also has what lies behind the residuals, to no effect.
template <typename Tiles, DType kDType>
void AddResidualGroupByTiles(const WeightPanel<kDType>& panel, const uint8_t* codes, int64_t i,
                             const ResidualGroup& block, int count, float (*sums)[kPanelChannels]) {
  GroupDots<kDType> dots;
  dots.template Multiply<Tiles>(block, codes + i * kGroupBytes);
  const GroupScales<kDType> scales = panel.Scales(i);
  for (int j = 0; j < count; ++j) {
    float* const out = sums[block.rows[j]];
    Floats sum = Lanes::Load(out);
    dots.AddTo(scales, block, j, &sum);
    Lanes::Store(sum, out);
  }
}

// The panel's codes as bytes: themselves, or in `unpacked`.
template <DType kDType>
const uint8_t* UnpackCodes(const WeightPanel<kDType>& panel, int64_t num_groups, uint8_t* unpacked) {
  if constexpr (AffineFormatOf(kDType).code_bits == 8) {
    return reinterpret_cast<const uint8_t*>(panel.codes);
  } else {
    for (int64_t i = 0; i < num_groups; ++i) panel.Load(i).codes.Store(unpacked + i * kGroupBytes);
    return unpacked;
  }
}

template <typename Tiles, DType kDType>
void MultiplyByTiles(const std::byte* panel, const std::byte* next, int64_t cols, const ActivationChunk& chunk,
                     PanelProducts& products) {
  if (chunk.rows < kLeastTileRows) return MultiplyQuantized<kDType>(panel, next, cols, chunk, products);
  const int64_t num_groups = cols / kGroupSize;
  const WeightPanel<kDType> weights(panel, cols), next_weights(next, cols);
  const uint8_t* const codes = UnpackCodes<kDType>(weights, num_groups, reinterpret_cast<uint8_t*>(chunk.scratch));
  Tiles::Configure(ConfigFor(GroupDots<kDType>::kFeatures));
  int first = 0;
  for (; chunk.rows - first >= kLeastTileRows; first += kBlockRows) {
    MultiplyBlock<Tiles, kDType>(weights, first == 0 && next != nullptr ? &next_weights : nullptr, codes, num_groups,
                                 BlockOf(chunk, num_groups, first), products.rows + first);
  }
  ForEachTile<kTileRows>(chunk.rows - first, [&](auto rows, int row) {
    MultiplyTile<rows.value>(weights, nullptr, num_groups, BlockOf(chunk, num_groups, first), row,
                             products.rows + first + row);
  });
  AddResiduals(num_groups, chunk, products, [&](int64_t i, const ResidualGroup& block, int count, auto* sums) {
    if (count < kLeastTileResiduals) {
      AddResidualGroup(weights.Load(i), block, count, sums);
    } else {
      AddResidualGroupByTiles<Tiles, kDType>(weights, codes, i, block, count, sums);
    }
  });
  // The operating system need not save what is not in use.
  Tiles::Release();
}

template <typename Tiles, DType kDType>
constexpr void SetMultiplyByTiles(MatMulKernels& kernels) {
  kernels.multiply[static_cast<int>(kDType)] = MultiplyByTiles<Tiles, kDType>;
}

// Quantised weights by tiles, where there are rows enough.
template <typename Tiles>
constexpr MatMulKernels MakeTileKernels() {
  MatMulKernels kernels = MakeKernels();
  kernels.max_chunk_rows = kMaxChunkRows;
  SetMultiplyByTiles<Tiles, DType::kQ8_0>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ4_0>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ4_1>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ5_1>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ4_K>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ5_K>(kernels);
  SetMultiplyByTiles<Tiles, DType::kQ6_K>(kernels);
  // The same affine format, and so the same code.
  kernels.multiply[static_cast<int>(DType::kQ5_0)] = MultiplyByTiles<Tiles, DType::kQ8_0>;
  return kernels;
}

}  // namespace
}  // namespace quire
