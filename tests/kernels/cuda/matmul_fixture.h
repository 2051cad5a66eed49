// What tests of MatMul on the emulated device share.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/packed_matrix.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"

namespace quire {

inline constexpr int kMostRows = 200;

inline void ExpectSameBits(Matrix& actual, int64_t actual_row, Matrix& expected, int64_t expected_row) {
  ASSERT_EQ(actual.cols, expected.cols);
  ASSERT_EQ(std::memcmp(actual.Row(actual_row), expected.Row(expected_row), actual.cols * sizeof(float)), 0)
      << "row " << actual_row << " differs";
}
// Of all rows of `actual` and those of `expected` from one on.
inline void ExpectSameRows(Matrix& actual, Matrix& expected, int64_t first_expected = 0) {
  for (int64_t row = 0; row < actual.rows; ++row) ExpectSameBits(actual, row, expected, first_expected + row);
}

class CudaMatMul : public testing::Test {
 protected:
  CudaMatMul() {
    cuda_shim::Reset();
    EXPECT_TRUE(scratch_.Reserve(kMostRows, 2048, nullptr).ok());
    EXPECT_TRUE(serial_scratch_.Reserve(kMostRows, 2048, nullptr, /*most_partial_tiles=*/0).ok());
  }

  Matrix Multiply(const CudaPackedMatrix& weights, Matrix& input, MatMulArgs args = {}) {
    return Multiply(scratch_, weights, input, args);
  }
  static Matrix Multiply(MatMulScratch& scratch, const CudaPackedMatrix& weights, Matrix& input, MatMulArgs args) {
    Matrix output(input.rows, args.epilogue == Epilogue::kGate ? weights.rows() / 2 : weights.rows());
    args.input = input.view();
    args.weights = &weights;
    args.output = output.view();
    MultiplyAndWait(args, scratch);
    return output;
  }
  // Afterwards the host may read the output.
  static void MultiplyAndWait(const MatMulArgs& args, MatMulScratch& scratch) {
    MatMul(args, scratch, nullptr);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }

  // Puts a number that is not finite into two rows: all others keep their bits, and is_poisoned(y) holds for all of
  // those.
  template <typename IsPoisoned>
  void ExpectPoisonInItsRowsAlone(const CudaPackedMatrix& weights, Matrix input, const MatMulArgs& args, float poison,
                                  const IsPoisoned& is_poisoned) {
    Matrix expected = Multiply(weights, input, args);
    input.Row(2)[7] = poison;
    input.Row(9)[input.cols - 1] = poison;
    Matrix actual = Multiply(weights, input, args);
    for (int64_t row = 0; row < input.rows; ++row) {
      if (row != 2 && row != 9) {
        ExpectSameBits(actual, row, expected, row);
      } else {
        EXPECT_TRUE(std::all_of(actual.Row(row), actual.Row(row) + actual.cols, is_poisoned)) << "row " << row;
      }
    }
  }

  std::mt19937 random_{20261124};
  MatMulScratch scratch_;
  MatMulScratch serial_scratch_;  // In which slices always follow each other.
};

}  // namespace quire
