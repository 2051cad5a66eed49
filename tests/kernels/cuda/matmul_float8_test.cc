// MatMul with weights in float8 on the emulated device, against exact sums of the codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_kernel.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/device_weights.h"
#include "tests/kernels/cuda/float8_products.h"
#include "tests/kernels/cuda/matmul_fixture.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

// Weights of float32 with the bytes of these values.
struct Float32Weights {
  Float32Weights(int64_t num_rows, int64_t num_cols) : cols(num_cols), values(num_rows * num_cols) {}
  float& at(int64_t row, int64_t col) { return values[row * cols + col]; }
  std::unique_ptr<CudaPackedMatrix> Pack() const {
    const RawMatrix part = {DType::kF32, static_cast<int64_t>(values.size()) / cols, cols,
                            std::as_bytes(std::span(values))};
    return PackOnDevice({&part, 1}, /*gated=*/false, WeightPrecision::kFloat8).value();
  }

  int64_t cols;
  std::vector<float> values;
};

class CudaFloat8MatMul : public CudaMatMul {
 protected:
  void ExpectProducts(const RandomWeights& weights, Matrix& input, const RmsNorm& norm, const Matrix& actual) {
    const Float8Products expected(weights.Values(), input, norm);
    for (size_t i = 0; i < actual.data.size(); ++i) {
      ASSERT_NEAR(actual.data[i], expected.values[i], expected.tolerances[i])
          << "row " << i / weights.rows << ", channel " << i % weights.rows;
    }
  }
};

TEST(Float8Slices, BeginWithWholeChunksAndTakeAllTiles) {
  for (int num_tiles = 1; num_tiles < 70; ++num_tiles) {
    for (int num_panels : {1, 32, 900, 8000}) {
      const int num_slices = SlicesOf(num_panels, num_tiles);
      const auto begin = [&](int slice) { return SliceBegin<WeightFormat::kFloat8>(slice, num_slices, num_tiles); };
      EXPECT_EQ(begin(0), 0);
      EXPECT_EQ(begin(num_slices), num_tiles);
      for (int slice = 0; slice < num_slices; ++slice) {
        EXPECT_EQ(begin(slice) % kChunkTiles, 0);
        EXPECT_LT(begin(slice), begin(slice + 1));
      }
    }
  }
}

TEST_F(CudaFloat8MatMul, MultipliesCodesExactlyButForTheirSums) {
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const RandomWeights weights(dtype, 37, 256, random_);
    Matrix input = RandomMatrix(9, 256, random_);
    ExpectProducts(weights, input, {}, Multiply(*PackOnDevice(weights, WeightPrecision::kFloat8), input));
  }
}

TEST_F(CudaFloat8MatMul, NormalizesBeforeItRounds) {
  for (const auto& [rows, cols] : {std::pair<int, int>{37, 768}, {150, 1536}}) {
    const RandomWeights weights(DType::kBF16, rows, cols, random_);
    const auto packed = PackOnDevice(weights, WeightPrecision::kFloat8);
    const std::vector<float> norm_weight = RandomMatrix(1, cols, random_).data;
    for (int m : {1, 9, 33}) {
      SCOPED_TRACE(testing::Message() << "[" << rows << ", " << cols << "], M = " << m);
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      Matrix input = RandomMatrix(m, cols, random_);
      ExpectProducts(weights, input, args.norm, Multiply(*packed, input, args));
    }
  }
}

// A chain that went on from the first chunk's sum would lose every one of the second chunk's products.
TEST_F(CudaFloat8MatMul, AddsUpEachChunkFromZero) {
  constexpr int kCols = 2048, kChunk = kChunkTiles * kTileFeatures;
  ASSERT_GT(SliceBegin<WeightFormat::kFloat8>(1, SlicesOf(1, TilesOf(kCols)), TilesOf(kCols)), kChunkTiles);
  Float32Weights weights(16, kCols);
  Matrix input(70, kCols);
  for (int64_t row = 0; row < input.rows; ++row) {
    const auto set = [&](int col, float value) { input.Row(row)[col] = weights.at(row % 16, col) = value; };
    set(0, 448);
    // Two instructions for 32 features, at most.
    for (int col = kChunk; col < 2 * kChunk; col += kGroupSize) set(col, 0x1p-4f), set(col + 4, 0x1p-4f);
  }
  const auto packed = weights.Pack();
  for (MatMulScratch* scratch : {&scratch_, &serial_scratch_}) {
    const Matrix output = Multiply(*scratch, *packed, input, {});
    for (const float y : output.data) EXPECT_EQ(y, 448 * 448 + 0x1p-5f);
  }
}

// Among them odd numbers of tiles, the last of which is a chunk alone, in one slice and in several.
TEST_F(CudaFloat8MatMul, TakesAnyWidth) {
  for (int cols : {1, 3, 51, 64, 65, 127, 128, 129, 190, 320, 577, 960, 1100}) {
    for (int m : {3, 70}) {
      SCOPED_TRACE(testing::Message() << "K = " << cols << ", M = " << m);
      const RandomWeights weights(DType::kF32, 19, cols, random_);
      Matrix input = RandomMatrix(m, cols, random_);
      const auto packed = PackOnDevice(weights, WeightPrecision::kFloat8);
      ExpectProducts(weights, input, {}, Multiply(*packed, input));
      ExpectProducts(weights, input, {}, Multiply(serial_scratch_, *packed, input, {}));
    }
  }
}

TEST_F(CudaFloat8MatMul, MultipliesManyRowsExactlyButForTheirSums) {
  const RandomWeights weights(DType::kBF16, 300, 192, random_);
  const auto packed = PackOnDevice(weights, WeightPrecision::kFloat8);
  Matrix input = RandomMatrix(kMostRows, 192, random_);
  for (MatMulScratch* scratch : {&scratch_, &serial_scratch_}) {
    ExpectProducts(weights, input, {}, Multiply(*scratch, *packed, input, {}));
  }
}

// Every variant of the kernel, and both ways of bringing slices together.
TEST_F(CudaFloat8MatMul, GivesARowTheSameBitsInEveryBatch) {
  GridCases cases(3);
  for (int cols : {512, 1088}) {
    ASSERT_GT(SlicesOf(5, TilesOf(cols)), 1);
    const std::vector<float> norm_weight(cols, 1.5f);
    for (bool gated : {false, true}) {
      const RandomWeights first(DType::kF16, 72, cols, random_), second(DType::kF16, 72, cols, random_);
      const auto packed = gated ? PackGatedOnDevice(first, second, WeightPrecision::kFloat8)
                                : PackOnDevice(first, WeightPrecision::kFloat8);
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      args.epilogue = gated ? Epilogue::kGate : Epilogue::kStore;
      Matrix all = RandomMatrix(kMostRows, cols, random_);
      Matrix expected = Multiply(*packed, all, args);
      for (int m : {1, 2, 7, 8, 9, 16, 17, 32, 33, 63, 64, 65, 128, kMostRows}) {
        if (!cases.Takes()) continue;
        SCOPED_TRACE(testing::Message() << cols << " columns" << (gated ? ", gated" : "") << ", M = " << m);
        const int64_t begin = (kMostRows - m) / 2;
        Matrix some = Rows(all, begin, m);
        Matrix actual = Multiply(*packed, some, args), serial = Multiply(serial_scratch_, *packed, some, args);
        ExpectSameRows(actual, expected, begin);
        ExpectSameRows(serial, expected, begin);
      }
    }
  }
}

TEST_F(CudaFloat8MatMul, KeepsNonFiniteRowsToThemselves) {
  const float infinity = std::numeric_limits<float>::infinity();
  const RandomWeights weights(DType::kF32, 40, 256, random_);
  const auto packed = PackOnDevice(weights, WeightPrecision::kFloat8);
  const std::vector<float> norm_weight(256, 1.0f);
  for (float poison : {std::nanf(""), infinity, -infinity}) {
    for (const RmsNorm& norm : {RmsNorm{}, RmsNorm{norm_weight, 1e-5f}}) {
      for (int m : {13, 70}) {
        SCOPED_TRACE(testing::Message() << poison << (norm.weight.empty() ? "" : ", normalised") << ", M = " << m);
        MatMulArgs args;
        args.norm = norm;
        ExpectPoisonInItsRowsAlone(*packed, RandomMatrix(m, 256, random_), args, poison,
                                   [](float y) { return std::isnan(y); });
      }
    }
  }
}

TEST_F(CudaFloat8MatMul, KeepsChannelsThatAreNotFiniteToThemselves) {
  Float32Weights weights(20, 64);
  for (float& value : weights.values) value = RandomMatrix(1, 1, random_).data[0];
  Matrix input = RandomMatrix(5, 64, random_);
  const Matrix expected = Multiply(*weights.Pack(), input);
  weights.at(7, 3) = std::nanf("");
  weights.at(18, 63) = std::numeric_limits<float>::infinity();
  Matrix actual = Multiply(*weights.Pack(), input);
  for (size_t i = 0; i < actual.data.size(); ++i) {
    const bool is_poisoned = i % 20 == 7 || i % 20 == 18;
    EXPECT_EQ(std::isnan(actual.data[i]), is_poisoned) << i;
    EXPECT_TRUE(is_poisoned || actual.data[i] == expected.data[i]) << i;
  }
}

// Powers of two change scales and nothing else, in rows as in channels.
TEST_F(CudaFloat8MatMul, ScalesWithItsRowsAndChannels) {
  Float32Weights weights(16, 192), scaled(16, 192);
  const float scales[] = {1, 0x1p-60f, 0x1p60f, 0};
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 192; ++col) {
      weights.at(row, col) = RandomMatrix(1, 1, random_).data[0];
      scaled.at(row, col) = weights.at(row, col) * scales[row % 4];
    }
  }
  Matrix input = RandomMatrix(8, 192, random_), scaled_input = input;
  const float input_scales[] = {1, 0x1p-50f, 0x1p50f, 0};
  for (int row = 0; row < 8; ++row) {
    for (int col = 0; col < 192; ++col) scaled_input.Row(row)[col] *= input_scales[row % 4];
  }
  Matrix expected = Multiply(*weights.Pack(), input), actual = Multiply(*scaled.Pack(), scaled_input);
  for (int row = 0; row < 8; ++row) {
    for (int channel = 0; channel < 16; ++channel) {
      const float scale = scales[channel % 4] * input_scales[row % 4];
      EXPECT_EQ(actual.Row(row)[channel], expected.Row(row)[channel] * scale) << row << ", " << channel;
    }
  }
}

}  // namespace
}  // namespace quire
