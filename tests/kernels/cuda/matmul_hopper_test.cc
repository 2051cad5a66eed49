// The product of many rows on devices that have Hopper's instructions, against the one for all devices, which has tests
// of its own.
#include "kernels/cuda/matmul_hopper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/kernels/cuda/device_weights.h"
#include "tests/kernels/cuda/matmul_fixture.h"

namespace quire {
namespace {

class CudaHopperMatMul : public CudaMatMul {
 protected:
  void SetUp() override {
    cuda_shim::SetHopper(true);
    if (!HasHopperMultiply()) GTEST_SKIP() << "not on this device";
  }
  void TearDown() override { cuda_shim::SetHopper(false); }

  // All rows at once, and a few at a time.
  void ExpectTheBitsOfFewRows(const CudaPackedMatrix& weights, Matrix& input, MatMulArgs args) {
    const int64_t cols = args.epilogue == Epilogue::kGate ? weights.rows() / 2 : weights.rows();
    Matrix actual(input.rows, cols), expected(input.rows, cols);
    std::ranges::fill(actual.data, 0.5f);  // What an epilogue may add to.
    std::ranges::fill(expected.data, 0.5f);
    args.weights = &weights;
    args.input = input.view();
    args.output = actual.view();
    MultiplyAndWait(args, scratch_);
    constexpr int64_t kFew = kMostTokensPerBlock;
    for (int64_t first = 0; first < input.rows; first += kFew) {
      const int64_t count = std::min(kFew, input.rows - first);
      args.input = {input.Row(first), count, input.cols, input.cols};
      args.output = {expected.Row(first), count, cols, cols};
      MultiplyAndWait(args, scratch_);
    }
    for (int64_t row = 0; row < input.rows; ++row) ExpectSameBits(actual, row, expected, row);
  }
};

// Panels that are no whole blocks, one and several slices, tokens that fill a block or do not.
TEST_F(CudaHopperMatMul, HasTheBitsOfThePortableKernelInEveryFormat) {
  struct Shape {
    int rows, cols;
    std::vector<int> counts;
  };
  const Shape shapes[] = {{72, 512, {65, kMostRows}}, {200, 768, {128, 129}}};
  for (DType dtype : kAllDTypes) {
    for (const auto& [rows, cols, counts] : shapes) {
      const RandomWeights weights(dtype, rows, cols, random_), others(dtype, rows, cols, random_);
      const auto packed = PackOnDevice(weights);
      const auto gated = PackGatedOnDevice(weights, others);
      for (int m : counts) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << " [" << rows << ", " << cols << "], M = " << m);
        Matrix input = RandomMatrix(m, cols, random_);
        ExpectTheBitsOfFewRows(*packed, input, {});
        MatMulArgs args;
        args.epilogue = Epilogue::kGate;
        ExpectTheBitsOfFewRows(*gated, input, args);
      }
    }
  }
}

TEST_F(CudaHopperMatMul, HasTheBitsOfThePortableKernelWithEveryEpilogue) {
  constexpr int kRows = 136, kCols = 512;
  const RandomWeights weights(DType::kQ8_0, kRows, kCols, random_), others(DType::kQ8_0, kRows, kCols, random_);
  const auto packed = PackOnDevice(weights);
  const auto gated = PackGatedOnDevice(weights, others);
  const std::vector<float> norm_weight(kCols, 1.5f), bias = RandomMatrix(1, 2 * kRows, random_).data;
  Matrix input = RandomMatrix(150, kCols, random_);
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kGate}) {
      SCOPED_TRACE(testing::Message() << "epilogue " << static_cast<int>(epilogue));
      const bool is_gated = epilogue == Epilogue::kGate;
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      args.epilogue = epilogue;
      args.activation = activation;
      args.bias = std::span(bias).first(is_gated ? 2 * kRows : kRows);
      ExpectTheBitsOfFewRows(is_gated ? *gated : *packed, input, args);
    }
  }
}

}  // namespace
}  // namespace quire
