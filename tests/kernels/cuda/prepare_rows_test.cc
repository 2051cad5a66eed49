// Rows in float8 on the emulated device. Those in bfloat16 show in every product: matmul_test.cc.
#include "kernels/cuda/prepare_rows.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "kernels/cuda/device_memory.h"
#include "kernels/float8.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {
namespace {

constexpr int kAllWidths[] = {1, 3, 64, 77, 512, 2052, 8192, 9001};

struct Float8Rows {
  std::vector<std::vector<uint8_t>> codes;
  std::vector<float> scales;
};

class CudaPrepareRows : public testing::Test {
 protected:
  CudaPrepareRows() { cuda_shim::Reset(); }

  static Float8Rows Prepare(Matrix& input, const RmsNorm& norm = {}) {
    const int64_t padded = (input.cols + 63) / 64 * 64;
    const auto codes = DeviceMemory::Allocate(input.rows * padded, "codes").value();
    const auto scales = DeviceMemory::Allocate(input.rows * sizeof(float), "scales").value();
    PrepareFloat8Rows(input.view(), norm, reinterpret_cast<uint8_t*>(codes.data()),
                      reinterpret_cast<float*>(scales.data()), padded, RowOrder::kPlain, nullptr);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    Float8Rows rows;
    for (int64_t row = 0; row < input.rows; ++row) {
      const auto* const begin = reinterpret_cast<const uint8_t*>(codes.data()) + row * padded;
      rows.codes.emplace_back(begin, begin + padded);
      rows.scales.push_back(reinterpret_cast<const float*>(scales.data())[row]);
    }
    return rows;
  }

  std::mt19937 random_{20261128};
};

TEST_F(CudaPrepareRows, GivesEachRowCodesUpTo448AndAScale) {
  for (int cols : kAllWidths) {
    Matrix input = RandomMatrix(3, cols, random_);
    for (int i = 0; i < cols; ++i) input.Row(2)[i] *= 1e-20f;
    const Float8Rows rows = Prepare(input);
    for (int64_t row = 0; row < 3; ++row) {
      SCOPED_TRACE(testing::Message() << cols << " columns, row " << row);
      float peak = 0;
      for (int i = 0; i < cols; ++i) peak = std::max(peak, std::abs(input.Row(row)[i]));
      EXPECT_EQ(rows.scales[row], peak / 448);
      for (size_t i = 0; i < rows.codes[row].size(); ++i) {
        const bool exists = static_cast<int>(i) < cols;
        ASSERT_EQ(rows.codes[row][i], exists ? ToFloat8(input.Row(row)[i] * (448 / peak)) : 0) << i;
      }
    }
  }
}

// Within the rounding of the norm's sums a code may be its neighbour.
TEST_F(CudaPrepareRows, NormalizesBeforeItRounds) {
  for (int cols : kAllWidths) {
    SCOPED_TRACE(testing::Message() << cols << " columns");
    Matrix input = RandomMatrix(2, cols, random_), weight = RandomMatrix(1, cols, random_);
    const Float8Rows rows = Prepare(input, {weight.data, 1e-5f});
    for (int64_t row = 0; row < 2; ++row) {
      double squares = 0, peak = 0;
      for (int i = 0; i < cols; ++i) squares += double{input.Row(row)[i]} * input.Row(row)[i];
      const double scale = 1 / std::sqrt(squares / cols + 1e-5);
      const auto normalized = [&](int i) { return input.Row(row)[i] * scale * weight.data[i]; };
      for (int i = 0; i < cols; ++i) peak = std::max(peak, std::abs(normalized(i)));
      EXPECT_NEAR(rows.scales[row], peak / 448, 1e-6 * peak / 448);
      int changed = 0;
      for (int i = 0; i < cols; ++i) {
        const int code = rows.codes[row][i], expected = ToFloat8(static_cast<float>(normalized(i) * 448 / peak));
        ASSERT_LE(std::abs(code - expected), 1) << i;
        changed += code != expected;
      }
      EXPECT_LE(changed, 1 + cols / 1000);
    }
  }
}

TEST_F(CudaPrepareRows, TakesForZerosWhatHasNoReciprocal) {
  Matrix input(3, 64);
  input.Row(1)[5] = 1e-38f;
  input.Row(2)[5] = 3e38f;
  const Float8Rows rows = Prepare(input);
  for (int row : {0, 1}) {
    EXPECT_TRUE(std::ranges::all_of(rows.codes[row], [](uint8_t code) { return code == 0; }));
    EXPECT_LE(rows.scales[row], 1e-38f);
  }
  EXPECT_EQ(rows.codes[2][5], 0x7e);
}

TEST_F(CudaPrepareRows, GivesARowThatIsNotFiniteAScaleOfNaNAndLeavesOthersAlone) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> weight(600, 1.5f);
  for (const RmsNorm& norm : {RmsNorm{}, RmsNorm{weight, 1e-5f}}) {
    for (float poison : {std::nanf(""), -std::nanf(""), infinity, -infinity}) {
      for (int place : {0, 137, 599}) {
        Matrix input = RandomMatrix(3, 600, random_);
        const Float8Rows expected = Prepare(input, norm);
        input.Row(1)[place] = poison;
        const Float8Rows rows = Prepare(input, norm);
        EXPECT_TRUE(std::isnan(rows.scales[1]));
        for (int row : {0, 2}) {
          EXPECT_EQ(rows.scales[row], expected.scales[row]);
          EXPECT_EQ(rows.codes[row], expected.codes[row]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace quire
