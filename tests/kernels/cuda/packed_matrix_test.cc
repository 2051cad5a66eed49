#include "kernels/cuda/packed_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "kernels/cuda/weight_format.h"
#include "kernels/cuda/weight_packing.h"
#include "kernels/float8.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cuda/device_weights.h"

namespace quire {
namespace {

constexpr WeightFormat kAllFormats[] = {
    WeightFormat::kBFloat16, WeightFormat::k4Bit,       WeightFormat::k4BitOffset,      WeightFormat::k4BitFloatOffset,
    WeightFormat::k8Bit,     WeightFormat::k8BitOffset, WeightFormat::k8BitFloatOffset, WeightFormat::k8BitFloatHalves,
    WeightFormat::kFloat8};

TEST(WeightLayout, GivesEveryCodeItsOwnBits) {
  for (WeightFormat format : kAllFormats) {
    const WeightLayout layout = LayoutOf(format);
    std::set<int> bits;
    for (int channel = 0; channel < kPanelRows; ++channel) {
      for (int feature = 0; feature < kTileFeatures; ++feature) bits.insert(layout.CodeBit(channel, feature));
    }
    EXPECT_EQ(bits.size(), size_t{kPanelRows} * kTileFeatures);
    EXPECT_EQ(*bits.rbegin(), layout.code_bytes_of_tile() * 8 - layout.code_bits);
    for (int bit : bits) EXPECT_EQ(bit % layout.code_bits, 0);
  }
}

TEST(WeightLayout, GivesEveryScaleAndOffsetItsOwnBytes) {
  for (WeightFormat format : kAllFormats) {
    const WeightLayout layout = LayoutOf(format);
    EXPECT_EQ(layout.tile_bytes() % kVectorBytes, 0);
    if (layout.scales_per_group == 0) continue;
    std::map<int, int> weights_at;
    for (int channel = 0; channel < kPanelRows; ++channel) {
      for (int feature = 0; feature < kTileFeatures; ++feature) {
        const int at = layout.ScaleByte(channel, feature);
        ++weights_at[at];
        if (layout.has_offset) ++weights_at[at + 2 * layout.scale_bytes];
      }
    }
    for (const auto& [at, weights] : weights_at) {
      EXPECT_EQ(weights, kGroupSize / layout.scales_per_group);
      EXPECT_EQ(at % layout.scale_bytes, 0);
    }
    EXPECT_EQ(weights_at.begin()->first, layout.code_bytes_of_tile());
    EXPECT_EQ(static_cast<int>(weights_at.size()) * layout.scale_bytes,
              layout.tile_bytes() - layout.code_bytes_of_tile());
  }
}

// Lane 4g + t has, of each 32 features, one vector: the four registers of an instruction for 8-bit numbers.
TEST(WeightLayout, GivesFloat8TheOrderOfAnOperandOf8Bits) {
  const WeightLayout layout = LayoutOf(WeightFormat::kFloat8);
  for (int channel = 0; channel < kPanelRows; ++channel) {
    for (int feature = 0; feature < kTileFeatures; ++feature) {
      const int g = channel % 8, t = feature % 32 / 8, q = feature % 8 / 4;
      const int word = 2 * q + channel / 8;
      const int byte = (feature / 32 * kLanes + 4 * g + t) * kVectorBytes + 4 * word + feature % 4;
      EXPECT_EQ(layout.CodeBit(channel, feature), 8 * byte) << channel << ", " << feature;
    }
  }
}

// What a matrix in float8 holds, of one panel and one of its channels.
struct Float8Channel {
  Float8Channel(const WeightSegment& segment, int64_t cols, int64_t panel, int channel) {
    const WeightLayout layout = LayoutOf(WeightFormat::kFloat8);
    scale = reinterpret_cast<const float*>(segment.scales.data())[panel * kPanelRows + channel];
    const std::byte* const tiles = segment.memory.data() + panel * PanelBytesOf(WeightFormat::kFloat8, cols);
    for (int64_t i = 0; i < TilesOf(cols) * kTileFeatures; ++i) {
      const int bit = layout.CodeBit(channel, static_cast<int>(i % kTileFeatures));
      codes.push_back(static_cast<uint8_t>(tiles[i / kTileFeatures * layout.tile_bytes() + bit / 8]));
    }
  }
  // Of a row of the file's.
  void Expect(std::span<const float> values) const {
    float peak = 0;
    for (const float value : values) peak = std::max(peak, std::abs(value));
    EXPECT_EQ(scale, peak / 448);
    for (size_t i = 0; i < codes.size(); ++i) {
      ASSERT_EQ(codes[i], i < values.size() ? ToFloat8(values[i] * (448 / peak)) : 0) << i;
    }
  }
  void ExpectZeros() const {
    EXPECT_EQ(scale, 0);
    EXPECT_THAT(codes, testing::Each(0));
  }

  float scale = 0;
  std::vector<uint8_t> codes;
};

TEST(CudaPackedMatrix, RoundsEveryFormatToFloat8) {
  std::mt19937 random(20261128);
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const int cols = TraitsOf(dtype).block_elements == 1 ? 77 : 768;
    const RandomWeights first(dtype, 21, cols, random), second(dtype, 8, cols, random),
        third(DType::kF16, 8, cols, random);
    const RawMatrix raw[] = {first.raw(), second.raw(), third.raw()};
    const auto matrix = PackOnDevice(raw, /*gated=*/false, WeightPrecision::kFloat8).value();
    ASSERT_EQ(matrix->segments().size(), 1u);
    const WeightSegment& segment = matrix->segments()[0];
    EXPECT_EQ(segment.num_channels, 37);
    EXPECT_EQ(segment.num_panels, 3);
    EXPECT_EQ(matrix->bytes(), 3 * (PanelBytesOf(WeightFormat::kFloat8, cols) + kPanelRows * 4));
    std::vector<float> values = first.Values();
    for (const RandomWeights* part : {&second, &third}) {
      const std::vector<float> more = part->Values();
      values.insert(values.end(), more.begin(), more.end());
    }
    for (int row = 0; row < 3 * kPanelRows; ++row) {
      SCOPED_TRACE(testing::Message() << "row " << row);
      const Float8Channel channel(segment, cols, row / kPanelRows, row % kPanelRows);
      if (row < 37) {
        channel.Expect(std::span(values).subspan(row * cols, cols));
      } else {
        channel.ExpectZeros();
      }
    }
  }
}

TEST(CudaPackedMatrix, AlternatesFloat8PanelsOfAGateOfAnyTwoFormats) {
  std::mt19937 random(20261128);
  const RandomWeights gate(DType::kQ4_K, 20, 256, random), up(DType::kQ6_K, 20, 256, random);
  const auto matrix = PackGatedOnDevice(gate, up, WeightPrecision::kFloat8);
  ASSERT_EQ(matrix->segments().size(), 1u);
  const WeightSegment& segment = matrix->segments()[0];
  EXPECT_EQ(segment.num_channels, 20);
  EXPECT_EQ(segment.num_panels, 4);
  const std::vector<float> values[] = {gate.Values(), up.Values()};
  for (int row = 0; row < 20; ++row) {
    for (int part : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "row " << row << " of part " << part);
      const Float8Channel channel(segment, 256, row / kPanelRows * 2 + part, row % kPanelRows);
      channel.Expect(std::span(values[part]).subspan(row * 256, 256));
    }
  }
  Float8Channel(segment, 256, 2, 4).ExpectZeros();
}

TEST(CudaPackedMatrix, GivesFloat8ChannelsOfAnyMagnitudeAScale) {
  constexpr int kCols = 64;
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values(8 * kCols, 0.0f);
  const auto at = [&](int row, int col) -> float& { return values[row * kCols + col]; };
  at(1, 5) = 3e38f, at(1, 6) = -1e36f;
  at(2, 5) = 1e-32f, at(2, 6) = -5e-33f;
  at(3, 5) = 1e-38f;
  at(4, 5) = std::nanf(""), at(4, 6) = 1;
  at(5, 5) = -infinity, at(5, 6) = 1;
  at(6, 5) = -2, at(6, 6) = 0x1p-20f;
  const RawMatrix part = {DType::kF32, 8, kCols, std::as_bytes(std::span(values))};
  const auto matrix = PackOnDevice({&part, 1}, /*gated=*/false, WeightPrecision::kFloat8).value();
  const auto channel = [&](int row) { return Float8Channel(matrix->segments()[0], kCols, 0, row); };
  channel(0).ExpectZeros();
  for (int row : {1, 2, 6}) channel(row).Expect(std::span(values).subspan(row * kCols, kCols));
  EXPECT_THAT(channel(3).codes, testing::Each(0));
  for (int row : {4, 5}) EXPECT_TRUE(std::isnan(channel(row).scale));
  channel(7).ExpectZeros();
}

TEST(CudaPackedMatrix, KeepsNeighboursOfOneFormatTogether) {
  std::mt19937 random(20261124);
  const RandomWeights parts[] = {
      {DType::kQ8_0, 40, 512, random}, {DType::kQ5_0, 24, 512, random}, {DType::kQ6_K, 17, 512, random}};
  const RawMatrix raw[] = {parts[0].raw(), parts[1].raw(), parts[2].raw()};
  const auto matrix = PackOnDevice(raw).value();
  EXPECT_EQ(matrix->rows(), 40 + 24 + 17);
  EXPECT_EQ(matrix->cols(), 512);
  ASSERT_EQ(matrix->segments().size(), 2u);
  EXPECT_EQ(matrix->segments()[0].num_channels, 64);
  EXPECT_EQ(matrix->segments()[0].num_panels, 4);
  EXPECT_EQ(matrix->segments()[1].first_channel, 64);
  EXPECT_EQ(matrix->segments()[1].num_panels, 2);
  EXPECT_EQ(matrix->bytes(),
            4 * PanelBytesOf(WeightFormat::k8Bit, 512) + 2 * PanelBytesOf(WeightFormat::k8BitFloatHalves, 512));
}

TEST(CudaPackedMatrix, KeepsTheFilesPrecision) {
  std::mt19937 random(20261124);
  const RandomWeights weights(DType::kQ4_0, 64, 256, random);
  EXPECT_EQ(PackOnDevice(weights)->bytes(), static_cast<int64_t>(weights.bytes.size()));
}

TEST(CudaPackedMatrix, RefusesShapesThatDoNotStack) {
  std::mt19937 random(20261124);
  const RandomWeights a(DType::kQ4_1, 32, 64, random), b(DType::kQ4_1, 32, 96, random), c(DType::kQ4_1, 48, 64, random);
  const RawMatrix of_two_widths[] = {a.raw(), b.raw()}, of_two_heights[] = {a.raw(), c.raw()};
  EXPECT_EQ(PackOnDevice({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PackOnDevice(of_two_widths).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PackOnDevice(of_two_heights, /*gated=*/true).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CudaPackedMatrix, SaysWhenMemoryCannotBeHad) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  std::mt19937 random(20261124);
  const RandomWeights weights(DType::kQ4_1, 32, 64, random);
  const RawMatrix part = weights.raw();
  const size_t before = cuda_shim::DeviceBytesInUse();
  for (cuda_shim::Call call : {cuda_shim::Call::kMalloc, cuda_shim::Call::kMallocHost}) {
    cuda_shim::FailNext(call, cudaErrorMemoryAllocation);
    EXPECT_EQ(PackOnDevice({&part, 1}).status().code(), absl::StatusCode::kResourceExhausted);
    cuda_shim::Reset();
  }
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), before);
  EXPECT_EQ(cuda_shim::PinnedBytesInUse(), 0u);
  EXPECT_TRUE(PackOnDevice({&part, 1}).ok());
}

}  // namespace
}  // namespace quire
