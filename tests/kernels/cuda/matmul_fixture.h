// What tests of MatMul on the emulated device share.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

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

  std::mt19937 random_{20261124};
  MatMulScratch scratch_;
  MatMulScratch serial_scratch_;  // In which slices always follow each other.
};

}  // namespace quire
