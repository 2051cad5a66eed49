// TileKernels in terms of `Tiles`, the eight tile registers:
//
//   Tiles::Configure(const TileConfig&), Tiles::Release()
//   Tiles::Zero<kTile>(), Tiles::Load<kTile>(from, row stride in bytes), Tiles::Store<kTile>(to, row stride in bytes)
//   Tiles::MultiplyAdd<kSums, kRows, kWeights>()    adds to sums, as TDPBF16PS
//
// Included after "kernels/cpu/matmul_kernels_impl.h" with the lanes of AVX-512, which every processor with such tiles
// has, as it has the conversions of AVX-512 BF16; everything is local to the including file.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/cpu/tile_kernels.h"

namespace quire {
namespace {

constexpr int kTileRowBytes = 64;
// Words of 32 features of a panel.
constexpr int kTileWords = kPanelChannels * kGroupSize;

Ints LaneNumbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

// The codes in byte kByte of each lane: in as few instructions as there may be, and not all by the few units that
// permute.
template <int kCodeBits, int kByte>
Floats CodesToFloats(Ints codes) {
  if constexpr (kByte == 3) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(codes, 24));
  } else if constexpr (kCodeBits == 4) {
    // A permutation heeds the four lowest bits of an index alone, and converts a code in the same instruction.
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 8 * kByte), _mm512_cvtepi32_ps(LaneNumbers()));
  } else if constexpr (kByte == 0) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(codes, _mm512_set1_epi32(255)));
  } else {
    // Bytes whose index is negative become zeros.
    const __m128i byte = _mm_setr_epi32(kByte - 256, kByte - 252, kByte - 248, kByte - 244);
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(byte)));
  }
}

// Weights of features 4 * quad + kByte of a group, rounded once: -zero_point * scale is exact.
template <int kByte, DType kDType>
Floats Weights(const WeightGroup<kDType>& group, int quad) {
  constexpr AffineFormat kFormat = AffineFormatOf(kDType);
  const Floats codes = CodesToFloats<kFormat.code_bits, kByte>(group.codes.quads[quad]);
  const Floats scale = group.scales[quad / 4 * (kFormat.scales_per_group - 1)];
  if constexpr (kFormat.has_offset) {
    return Lanes::Fma(codes, scale, group.offset);
  } else {
    return Lanes::Fma(codes, scale, Lanes::Mul(scale, Lanes::Broadcast(-kFormat.zero_point())));
  }
}

// Words 0 to 15 are those of `first`.
Ints ToBFloat16(Floats first, Floats second) { return (Ints)_mm512_cvtne2ps_pbh(second, first); }

// Two neighbouring features of each channel, in one 32-bit lane.
Ints RoundPair(Floats even, Floats odd) {
  const Ints from_even = LaneNumbers(), from_odd = _mm512_add_epi32(from_even, _mm512_set1_epi32(16));
  return _mm512_permutexvar_epi16(_mm512_or_si512(from_even, _mm512_slli_epi32(from_odd, 16)), ToBFloat16(even, odd));
}

template <DType kDType>
void Expand(const std::byte* panel, const std::byte* next, int64_t cols, uint16_t* out) {
  const WeightPanel<kDType> weights(panel, cols), next_weights(next, cols);
  for (int64_t i = 0; i < cols / kGroupSize; ++i, out += kTileWords) {
    if (next != nullptr) next_weights.FetchGroup(i);
    const WeightGroup<kDType> group = weights.Load(i);
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; ++quad) {
      _mm512_storeu_si512(out + 64 * quad, RoundPair(Weights<0>(group, quad), Weights<1>(group, quad)));
      _mm512_storeu_si512(out + 64 * quad + 32, RoundPair(Weights<2>(group, quad), Weights<3>(group, quad)));
    }
  }
}

void Round(const float* input, int64_t begin, int64_t end, int row, const BFloat16Rows& out) {
  for (int64_t i = begin; i < end; ++i) {
    const float* group = input + i * kGroupSize;
    _mm512_storeu_si512(out.words + (i * out.capacity + row) * kGroupSize,
                        ToBFloat16(Lanes::Load(group), Lanes::Load(group + 16)));
  }
}

// Registers by what they hold. Sums of the i-th rows and the j-th panel are in 2 * i + j.
constexpr int kRowsTile = 4, kWeightsTile = 6;

// Shapes for so many rows in the first and in the second tile of activations.
TileConfig ConfigFor(int first_rows, int second_rows) {
  TileConfig config;
  const auto set = [&config](int tile, int rows) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.row_bytes[tile] = rows > 0 ? kTileRowBytes : 0;
  };
  for (int panel = 0; panel < kTilePanels; ++panel) {
    set(panel, first_rows);
    set(2 + panel, second_rows);
    set(kWeightsTile + panel, kTileHeight);
  }
  set(kRowsTile, first_rows);
  set(kRowsTile + 1, second_rows);
  return config;
}

// The products of one or two tiles of rows with one or two panels, through the whole depth.
template <typename Tiles, int kRowTiles, int kPanels>
void MultiplyBlock(const uint16_t* panels, int64_t cols, const BFloat16Rows& rows, int first_row,
                   PanelProducts* products) {
  Tiles::template Zero<0>();
  if constexpr (kPanels == 2) Tiles::template Zero<1>();
  if constexpr (kRowTiles == 2) Tiles::template Zero<2>();
  if constexpr (kRowTiles == 2 && kPanels == 2) Tiles::template Zero<3>();
  const uint16_t* row_words = rows.words + static_cast<int64_t>(first_row) * kGroupSize;
  const uint16_t* const end = panels + cols * kPanelChannels;
  for (; panels != end; panels += kTileWords, row_words += rows.capacity * kGroupSize) {
    Tiles::template Load<kWeightsTile>(panels, kTileRowBytes);
    Tiles::template Load<kRowsTile>(row_words, kTileRowBytes);
    Tiles::template MultiplyAdd<0, kRowsTile, kWeightsTile>();
    if constexpr (kPanels == 2) {
      Tiles::template Load<kWeightsTile + 1>(panels + cols * kPanelChannels, kTileRowBytes);
      Tiles::template MultiplyAdd<1, kRowsTile, kWeightsTile + 1>();
    }
    if constexpr (kRowTiles == 2) {
      Tiles::template Load<kRowsTile + 1>(row_words + kTileHeight * kGroupSize, kTileRowBytes);
      Tiles::template MultiplyAdd<2, kRowsTile + 1, kWeightsTile>();
      if constexpr (kPanels == 2) Tiles::template MultiplyAdd<3, kRowsTile + 1, kWeightsTile + 1>();
    }
  }
  constexpr int kStride = sizeof(products->rows[0]);
  Tiles::template Store<0>(products[0].rows[first_row], kStride);
  if constexpr (kPanels == 2) Tiles::template Store<1>(products[1].rows[first_row], kStride);
  if constexpr (kRowTiles == 2) Tiles::template Store<2>(products[0].rows[first_row + kTileHeight], kStride);
  if constexpr (kRowTiles == 2 && kPanels == 2) {
    Tiles::template Store<3>(products[1].rows[first_row + kTileHeight], kStride);
  }
}

template <typename Tiles>
void MultiplyTiles(const uint16_t* panels, int num_panels, int64_t cols, const ActivationChunk& chunk,
                   PanelProducts* products) {
  int configured = 0;  // For a block of so many rows.
  for (int first_row = 0; first_row < chunk.rows; first_row += 2 * kTileHeight) {
    const int rows = chunk.rows - first_row < 2 * kTileHeight ? chunk.rows - first_row : 2 * kTileHeight;
    if (rows != configured) {
      const int first_rows = rows < kTileHeight ? rows : kTileHeight;
      Tiles::Configure(ConfigFor(first_rows, rows - first_rows));
      configured = rows;
    }
    const auto multiply = rows > kTileHeight
                              ? (num_panels == 2 ? MultiplyBlock<Tiles, 2, 2> : MultiplyBlock<Tiles, 2, 1>)
                              : (num_panels == 2 ? MultiplyBlock<Tiles, 1, 2> : MultiplyBlock<Tiles, 1, 1>);
    multiply(panels, cols, chunk.bfloat16s, first_row, products);
  }
}

template <typename Tiles>
constexpr TileKernels MakeTileKernels() {
  TileKernels kernels = {};
  kernels.expand[static_cast<int>(DType::kQ8_0)] = Expand<DType::kQ8_0>;
  kernels.expand[static_cast<int>(DType::kQ4_0)] = Expand<DType::kQ4_0>;
  kernels.expand[static_cast<int>(DType::kQ4_1)] = Expand<DType::kQ4_1>;
  kernels.expand[static_cast<int>(DType::kQ5_1)] = Expand<DType::kQ5_1>;
  kernels.expand[static_cast<int>(DType::kQ4_K)] = Expand<DType::kQ4_K>;
  kernels.expand[static_cast<int>(DType::kQ5_K)] = Expand<DType::kQ5_K>;
  kernels.expand[static_cast<int>(DType::kQ6_K)] = Expand<DType::kQ6_K>;
  // The same affine format, and so the same code.
  kernels.expand[static_cast<int>(DType::kQ5_0)] = Expand<DType::kQ8_0>;
  kernels.round = Round;
  kernels.multiply = MultiplyTiles<Tiles>;
  kernels.release = Tiles::Release;
  return kernels;
}

// Quantised weights by tiles. Float ones stay with the lanes, in float32: a file that has them is one whose owner did
// not want rounding, and to multiply them in bfloat16 would round F32 and F16 weights and everybody's activations.
constexpr MatMulKernels MakeKernelsWith(const TileKernels& tiles) {
  MatMulKernels kernels = MakeFloatKernels();
  kernels.tiles = &tiles;
  kernels.max_chunk_rows = kMaxChunkRows;  // Expanding a panel costs as much as multiplying it with some 80 rows.
  return kernels;
}

}  // namespace
}  // namespace quire
