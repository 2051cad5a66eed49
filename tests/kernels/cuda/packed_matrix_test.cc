#include "kernels/cuda/packed_matrix.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "kernels/cuda/weight_format.h"
#include "kernels/cuda/weight_packing.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cuda/device_weights.h"

namespace quire {
namespace {

constexpr WeightFormat kAllFormats[] = {
    WeightFormat::kBFloat16, WeightFormat::k4Bit,       WeightFormat::k4BitOffset,      WeightFormat::k4BitFloatOffset,
    WeightFormat::k8Bit,     WeightFormat::k8BitOffset, WeightFormat::k8BitFloatOffset, WeightFormat::k8BitFloatHalves};

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
