// The products on devices that have Hopper's instructions, against the one for all devices, which has tests of its own.
#include "kernels/cuda/matmul_hopper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "tests/kernels/cuda/device_weights.h"
#include "tests/kernels/cuda/matmul_fixture.h"
#include "tests/sanitized.h"

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
    ExpectSameRows(actual, expected);
  }
};

// Panels that are no whole blocks, one and several slices, tokens that fill a block or do not.
TEST_F(CudaHopperMatMul, HasTheBitsOfThePortableKernelInEveryFormat) {
  struct Shape {
    int rows, cols;
    std::vector<int> counts;
  };
  const Shape shapes[] = {{72, 512, {65, kMostRows}}, {200, 768, {128, 129}}};
  GridCases cases(3);
  for (DType dtype : kAllDTypes) {
    for (const auto& [rows, cols, counts] : shapes) {
      if (!cases.Takes()) continue;
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

class CudaHopperFloat8MatMul : public CudaHopperMatMul {
 protected:
  static constexpr WeightPrecision kFloat8 = WeightPrecision::kFloat8;

  // By the portable kernel, which on the emulated device makes the same sums. On others it is not used, and this tells
  // nothing; there rows must have the same bits in every batch.
  Matrix MultiplyPortably(const CudaPackedMatrix& weights, Matrix& input, MatMulArgs args = {}) {
    cuda_shim::SetHopper(false);
    Matrix output = Multiply(weights, input, args);
    cuda_shim::SetHopper(true);
    return output;
  }
};

// Every number of tokens that a block may have; slices of whole chunks, and last ones of one tile.
TEST_F(CudaHopperFloat8MatMul, HasTheBitsOfThePortableKernelInEveryBatch) {
  GridCases cases(5);
  for (const auto& [rows, cols] : {std::pair<int, int>{72, 512}, {200, 704}, {16, 64}, {40, 100}, {130, 192}}) {
    const RandomWeights weights(DType::kBF16, rows, cols, random_), others(DType::kBF16, rows, cols, random_);
    const auto packed = PackOnDevice(weights, kFloat8), gated = PackGatedOnDevice(weights, others, kFloat8);
    for (const CudaPackedMatrix* matrix : {packed.get(), gated.get()}) {
      MatMulArgs args;
      args.epilogue = matrix->gated() ? Epilogue::kGate : Epilogue::kStore;
      Matrix all = RandomMatrix(kMostRows, cols, random_);
      Matrix expected = MultiplyPortably(*matrix, all, args);
      for (int m : {1, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, kMostRows}) {
        if (!cases.Takes()) continue;
        SCOPED_TRACE(testing::Message() << "[" << rows << ", " << cols << "], M = " << m
                                        << (matrix->gated() ? ", gated" : ""));
        const int64_t first = (kMostRows - m) / 2;
        Matrix some = Rows(all, first, m);
        Matrix actual = Multiply(*matrix, some, args);
        ExpectSameRows(actual, expected, first);
        if (m != 1 && m != 33) continue;
        Matrix serial = Multiply(serial_scratch_, *matrix, some, args);
        ExpectSameRows(serial, expected, first);
      }
    }
  }
}

TEST_F(CudaHopperFloat8MatMul, HasTheBitsOfThePortableKernelWithEveryEpilogue) {
  constexpr int kRows = 136, kCols = 512;
  const RandomWeights weights(DType::kQ8_0, kRows, kCols, random_), others(DType::kQ8_0, kRows, kCols, random_);
  const auto packed = PackOnDevice(weights, kFloat8), gated = PackGatedOnDevice(weights, others, kFloat8);
  const std::vector<float> norm_weight(kCols, 1.5f), bias = RandomMatrix(1, 2 * kRows, random_).data;
  for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kGate}) {
    for (int m : {5, 150}) {
      SCOPED_TRACE(testing::Message() << "epilogue " << static_cast<int>(epilogue) << ", M = " << m);
      const bool is_gated = epilogue == Epilogue::kGate;
      Matrix input = RandomMatrix(m, kCols, random_), before = RandomMatrix(m, kRows, random_);
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      args.epilogue = epilogue;
      args.activation = Activation::kGelu;
      args.bias = std::span(bias).first(is_gated ? 2 * kRows : kRows);
      args.input = input.view();
      args.weights = is_gated ? gated.get() : packed.get();
      Matrix actual = before, expected = before;
      args.output = actual.view();
      MultiplyAndWait(args, scratch_);
      cuda_shim::SetHopper(false);
      args.output = expected.view();
      MultiplyAndWait(args, scratch_);
      cuda_shim::SetHopper(true);
      ExpectSameRows(actual, expected);
    }
  }
}

TEST_F(CudaHopperFloat8MatMul, GivesTheSameBitsInAnyOrderOfBlocksAndThreads) {
  const RandomWeights weights(DType::kQ5_K, 300, 1280, random_);
  const auto packed = PackOnDevice(weights, kFloat8);
  for (int m : {3, 20, 70}) {
    Matrix input = RandomMatrix(m, 1280, random_);
    Matrix expected = MultiplyPortably(*packed, input);
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      SCOPED_TRACE(testing::Message() << "M = " << m << ", seed " << seed);
      cuda_shim::SetSchedulingSeed(seed);
      Matrix actual = Multiply(*packed, input);
      ExpectSameRows(actual, expected);
    }
  }
}

TEST_F(CudaHopperFloat8MatMul, KeepsNonFiniteRowsToThemselves) {
  const RandomWeights weights(DType::kBF16, 40, 320, random_);
  const auto packed = PackOnDevice(weights, kFloat8);
  for (int m : {13, 70}) {
    for (float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      SCOPED_TRACE(testing::Message() << "M = " << m << ", " << poison);
      ExpectPoisonInItsRowsAlone(*packed, RandomMatrix(m, 320, random_), {}, poison,
                                 [](float y) { return std::isnan(y); });
    }
  }
}

}  // namespace
}  // namespace quire
