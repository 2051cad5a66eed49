// Matrix multiplication through CpuOps, on every instruction set that the machine has or can emulate.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "kernels/affine_groups.h"
#include "kernels/ops.h"
#include "tests/emulation/kernel_builds.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/random_weights.h"
#include "tests/reference/reference_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr int kMostRows = 300;
constexpr int kAllRowCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 29, 31, 32, 33, 64, 100, 130, kMostRows};

std::unique_ptr<PackedMatrix> Pack(Ops& ops, const RandomWeights& weights) {
  const RawMatrix part = weights.raw();
  return ops.Pack({&part, 1}, WeightPrecision::kAsStored).value();
}

Matrix Multiply(Ops& ops, const PackedMatrix& weights, Matrix& input, MatMulArgs args = {}) {
  Matrix output(input.rows, args.epilogue == Epilogue::kGate ? weights.rows() / 2 : weights.rows());
  args.input = input.view();
  args.weights = &weights;
  args.output = output.view();
  ops.MatMul(args);
  EXPECT_TRUE(ops.Synchronize().ok());
  return output;
}

// As the kernels round activations: to eight bits in groups of 32, and what that takes away to eight more where the
// group's peak is above three times the row's root mean square.
std::vector<float> RoundToInt8Groups(const float* input, int64_t cols) {
  double squares = 0;
  for (int64_t i = 0; i < cols; ++i) squares += double{input[i]} * input[i];
  const double rms = std::sqrt(squares / static_cast<double>(cols));
  std::vector<float> output(cols);
  for (int64_t begin = 0; begin < cols; begin += kGroupSize) {
    float peak = 0;
    for (int i = 0; i < kGroupSize; ++i) peak = std::max(peak, std::abs(input[begin + i]));
    const float inverse = peak > 0 ? 127 / peak : 0;
    const float scale = peak * (1.0f / 127);
    for (int i = 0; i < kGroupSize; ++i) {
      const float scaled = input[begin + i] * inverse;
      const float code = std::nearbyint(scaled);
      const float residual = peak > 3 * rms ? std::nearbyint((scaled - code) * 254) : 0;
      output[begin + i] = scale * code + scale * (1.0f / 254) * residual;
    }
  }
  return output;
}

// |actual - expected| is within `tolerance` of the sum of the magnitudes of what was added up.
void ExpectProducts(const RandomWeights& weights, Matrix& input, Matrix& actual, double tolerance) {
  const std::vector<float> values = weights.Values();
  for (int64_t m = 0; m < input.rows; ++m) {
    std::vector<float> x(input.Row(m), input.Row(m) + input.cols);
    if (IsQuantized(weights.dtype)) x = RoundToInt8Groups(input.Row(m), input.cols);
    for (int64_t n = 0; n < weights.rows; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < input.cols; ++k) {
        const double product = double{x[k]} * values[n * input.cols + k];
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(actual.Row(m)[n], sum, tolerance * magnitude) << "row " << m << ", channel " << n;
    }
  }
}

void ExpectSameBits(Matrix& actual, int64_t actual_row, Matrix& expected, int64_t expected_row) {
  ASSERT_EQ(actual.cols, expected.cols);
  ASSERT_EQ(std::memcmp(actual.Row(actual_row), expected.Row(expected_row), actual.cols * sizeof(float)), 0)
      << "row " << actual_row << " differs";
}

double LargestDifference(const Matrix& a, const Matrix& b) {
  double largest = 0;
  for (size_t i = 0; i < a.data.size(); ++i) largest = std::max<double>(largest, std::abs(a.data[i] - b.data[i]));
  return largest;
}

class MatMul : public testing::TestWithParam<KernelBuild> {
 protected:
  std::mt19937 random_{20240917};
};

TEST_P(MatMul, MultipliesEveryFormatExactlyButForRounding) {
  const auto ops = GetParam().MakeOps(2);
  for (DType dtype : kAllDTypes) {
    for (const auto& [rows, cols] : {std::pair<int, int>{16, 256}, {1, 512}, {37, 768}, {200, 256}}) {
      const RandomWeights weights(dtype, rows, cols, random_);
      const auto packed = Pack(*ops, weights);
      for (int m : {1, 2, 3, 5, 8, 9, 33}) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << " [" << rows << ", " << cols << "], M = " << m);
        Matrix input = RandomMatrix(m, cols, random_);
        Matrix output = Multiply(*ops, *packed, input);
        ExpectProducts(weights, input, output, 1e-6);
      }
    }
  }
}

TEST_P(MatMul, TakesAnyWidthThatTheFormatAllows) {
  const auto ops = GetParam().MakeOps(2);
  for (DType dtype : kAllDTypes) {
    for (int cols = TraitsOf(dtype).block_elements; cols <= 5 * TraitsOf(dtype).block_elements && cols <= 800;
         cols += TraitsOf(dtype).block_elements) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", K = " << cols);
      const RandomWeights weights(dtype, 19, cols, random_);
      Matrix input = RandomMatrix(3, cols, random_);
      Matrix output = Multiply(*ops, *Pack(*ops, weights), input);
      ExpectProducts(weights, input, output, 1e-6);
    }
  }
}

// The largest codes and activations at once, where narrow accumulators would saturate.
TEST_P(MatMul, DoesNotSaturate) {
  const auto ops = GetParam().MakeOps(1);
  for (DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kQ5_1, DType::kQ5_K}) {
    RandomWeights weights(dtype, 16, 512, random_);
    const RandomWeights scales = weights;
    for (int extreme : {0x00, 0xff, 0x80, 0x7f}) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", codes " << extreme);
      const int header = TraitsOf(dtype).block_elements == 256              ? 4
                         : (dtype == DType::kQ4_1 || dtype == DType::kQ5_1) ? 4
                                                                            : 2;
      for (size_t i = 0; i < weights.bytes.size(); ++i) {
        const bool is_scale = static_cast<int>(i % TraitsOf(dtype).block_bytes) < header;
        weights.bytes[i] = is_scale ? scales.bytes[i] : static_cast<std::byte>(extreme);
      }
      const auto packed = Pack(*ops, weights);
      for (float sign : {1.0f, -1.0f}) {
        Matrix input(5, 512);
        std::ranges::fill(input.data, sign * 3);
        Matrix output = Multiply(*ops, *packed, input);
        ExpectProducts(weights, input, output, 1e-6);
      }
    }
  }
}

TEST_P(MatMul, AgreesWithTheReferenceWithinTheErrorOfRoundedActivations) {
  const auto ops = GetParam().MakeOps(2);
  ReferenceOps reference;
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const RandomWeights weights(dtype, 48, 768, random_);
    const RawMatrix part = weights.raw();
    Matrix input = RandomMatrix(4, 768, random_);
    const Matrix expected = Multiply(reference, *reference.Pack({&part, 1}, WeightPrecision::kAsStored).value(), input);
    const Matrix actual = Multiply(*ops, *Pack(*ops, weights), input);
    double square = 0;
    for (float y : expected.data) square += double{y} * y;
    const double deviation = std::sqrt(square / static_cast<double>(expected.data.size()));
    EXPECT_LT(LargestDifference(actual, expected), 0.04 * deviation);
  }
}

TEST_P(MatMul, GivesARowTheSameBitsInEveryBatch) {
  const auto ops = GetParam().MakeOps(2);
  const std::vector<float> norm_weight(256, 1.5f);
  GridCases cases(5);
  for (DType dtype : kAllDTypes) {
    for (bool gated : {false, true}) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << (gated ? ", gated" : ""));
      const RandomWeights first(dtype, 72, 256, random_), second(dtype, 72, 256, random_);
      const auto packed =
          gated ? ops->PackGated(first.raw(), second.raw(), WeightPrecision::kAsStored).value() : Pack(*ops, first);
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      args.epilogue = gated ? Epilogue::kGate : Epilogue::kStore;
      Matrix all = RandomMatrix(kMostRows, 256, random_);
      Matrix expected = Multiply(*ops, *packed, all, args);
      for (int m : kAllRowCounts) {
        if (!cases.Takes()) continue;
        const int64_t begin = (kMostRows - m) / 2;
        Matrix some = Rows(all, begin, m);
        Matrix actual = Multiply(*ops, *packed, some, args);
        for (int64_t row = 0; row < m; ++row) ExpectSameBits(actual, row, expected, begin + row);
      }
    }
  }
}

// So that tiles may be used for many rows and vectors for few.
TEST_P(MatMul, GivesTheBitsOfVectorsByTiles) {
  if (!GetParam().name.starts_with("amx")) GTEST_SKIP() << "no tiles";
  const auto ops = GetParam().MakeOps(2), vectors = FindKernelBuild("avx512_vnni")->MakeOps(2);
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const RandomWeights weights(dtype, 56, 768, random_);
    Matrix input = RandomMatrix(kMostRows, 768, random_);
    Matrix actual = Multiply(*ops, *Pack(*ops, weights), input);
    Matrix expected = Multiply(*vectors, *Pack(*vectors, weights), input);
    for (int64_t row = 0; row < input.rows; ++row) ExpectSameBits(actual, row, expected, row);
  }
}

TEST_P(MatMul, GivesTheSameBitsOnAnyNumberOfWorkers) {
  const RandomWeights weights(DType::kQ4_1, 1000, 320, random_);
  Matrix input = RandomMatrix(100, 320, random_);
  const auto one = GetParam().MakeOps(1);
  Matrix expected = Multiply(*one, *Pack(*one, weights), input);
  for (int workers : {2, 3, 7, 64}) {
    SCOPED_TRACE(testing::Message() << workers << " workers");
    const auto ops = GetParam().MakeOps(workers);
    const auto packed = Pack(*ops, weights);
    for (int m : {1, 6, 17, 100}) {
      Matrix some = Rows(input, 0, m);
      Matrix actual = Multiply(*ops, *packed, some);
      for (int64_t row = 0; row < m; ++row) ExpectSameBits(actual, row, expected, row);
    }
  }
}

TEST_P(MatMul, KeepsNonFiniteRowsToThemselves) {
  const auto ops = GetParam().MakeOps(2);
  const float infinity = std::numeric_limits<float>::infinity();
  for (DType dtype : {DType::kQ4_1, DType::kQ8_0, DType::kQ6_K, DType::kF32}) {
    for (float poison : {std::nanf(""), infinity, -infinity}) {
      for (bool normalized : {false, true}) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", " << poison
                                        << (normalized ? ", normalised" : ""));
        const RandomWeights weights(dtype, 40, 256, random_);
        const auto packed = Pack(*ops, weights);
        const std::vector<float> norm_weight(256, 1.0f);
        MatMulArgs args;
        if (normalized) args.norm = {norm_weight, 1e-5f};
        Matrix input = RandomMatrix(13, 256, random_);
        Matrix expected = Multiply(*ops, *packed, input, args);
        input.Row(2)[7] = poison;
        input.Row(9)[255] = poison;
        Matrix actual = Multiply(*ops, *packed, input, args);
        for (int64_t row = 0; row < input.rows; ++row) {
          if (row != 2 && row != 9) {
            ExpectSameBits(actual, row, expected, row);
          } else {
            EXPECT_TRUE(
                std::none_of(actual.Row(row), actual.Row(row) + actual.cols, [](float y) { return std::isfinite(y); }));
          }
        }
      }
    }
  }
}

TEST_P(MatMul, TakesInputsOfAnyMagnitude) {
  const auto ops = GetParam().MakeOps(1);
  const RandomWeights weights(DType::kQ4_0, 16, 64, random_);
  const auto packed = Pack(*ops, weights);
  for (float magnitude : {0.0f, 1e-45f, 1e-38f, 1e-30f, 1e30f}) {
    SCOPED_TRACE(magnitude);
    Matrix input = RandomMatrix(2, 64, random_);
    for (float& x : input.data) x *= magnitude;
    const Matrix output = Multiply(*ops, *packed, input);
    for (float y : output.data) {
      EXPECT_TRUE(std::isfinite(y));
      EXPECT_LE(std::abs(y), 1000 * magnitude);
    }
  }
}

// Norm, bias and every epilogue, against the reference; float weights, so that nothing but rounding may differ.
TEST_P(MatMul, FusesNormBiasAndEpiloguesAsTheReferenceDoes) {
  const auto ops = GetParam().MakeOps(2);
  ReferenceOps reference;
  for (int cols : {64, 51}) {
    const RandomWeights first(DType::kF32, 41, cols, random_), second(DType::kF32, 41, cols, random_);
    Matrix norm_weight = RandomMatrix(1, cols, random_), bias = RandomMatrix(1, 82, random_);
    for (Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kGate}) {
      for (Activation activation : {Activation::kSilu, Activation::kGelu}) {
        for (int m : {1, 5, 20}) {
          SCOPED_TRACE(testing::Message() << "K = " << cols << ", epilogue " << static_cast<int>(epilogue)
                                          << ", activation " << static_cast<int>(activation) << ", M = " << m);
          const RawMatrix parts[] = {first.raw(), second.raw()};
          const bool gated = epilogue == Epilogue::kGate;
          const auto packed = gated ? ops->PackGated(parts[0], parts[1], WeightPrecision::kAsStored).value()
                                    : ops->Pack(parts, WeightPrecision::kAsStored).value();
          const auto expected_packed = gated
                                           ? reference.PackGated(parts[0], parts[1], WeightPrecision::kAsStored).value()
                                           : reference.Pack(parts, WeightPrecision::kAsStored).value();
          Matrix input = RandomMatrix(m, cols, random_);
          Matrix output = RandomMatrix(m, gated ? 41 : 82, random_);
          Matrix expected = output;
          MatMulArgs args;
          args.input = input.view();
          args.norm = {norm_weight.data, 1e-5f};
          args.weights = packed.get();
          args.bias = bias.data;
          args.epilogue = epilogue;
          args.activation = activation;
          args.output = output.view();
          ops->MatMul(args);
          args.weights = expected_packed.get();
          args.output = expected.view();
          reference.MatMul(args);
          for (size_t i = 0; i < output.data.size(); ++i) {
            ASSERT_NEAR(output.data[i], expected.data[i], 2e-5 * (1 + std::abs(expected.data[i]))) << i;
          }
        }
      }
    }
  }
}

TEST_P(MatMul, GatesFarFromZeroWithoutOverflow) {
  const auto ops = GetParam().MakeOps(1);
  // Identity weights: the gate sees the input itself, and up is 1.
  std::vector<float> identity(16 * 16, 0.0f), ones(16 * 16, 0.0f);
  for (int i = 0; i < 16; ++i) identity[i * 16 + i] = 1;
  for (int i = 0; i < 16; ++i) ones[i * 16 + 15] = 1;
  const auto packed = ops->PackGated({DType::kF32, 16, 16, std::as_bytes(std::span(identity))},
                                     {DType::kF32, 16, 16, std::as_bytes(std::span(ones))}, WeightPrecision::kAsStored)
                          .value();
  Matrix input(1, 16);
  input.data = {-1e30f, -1000, -100, -88, -20, -5, -1, -1e-3f, 0, 1e-3f, 1, 5, 20, 100, 1e30f, 1};
  for (Activation activation : {Activation::kSilu, Activation::kGelu}) {
    MatMulArgs args;
    args.epilogue = Epilogue::kGate;
    args.activation = activation;
    const Matrix output = Multiply(*ops, *packed, input, args);
    for (int i = 0; i < 16; ++i) {
      const double x = input.data[i];
      const double expected = activation == Activation::kSilu
                                  ? x / (1 + std::exp(-x))
                                  : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      EXPECT_NEAR(output.data[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << x;
    }
  }
}

// As in files whose V or down-projection is kept at a higher precision than its neighbours.
TEST_P(MatMul, StacksPartsOfDifferentFormats) {
  const auto ops = GetParam().MakeOps(2);
  const RandomWeights parts[] = {
      {DType::kQ4_K, 40, 512, random_}, {DType::kF16, 24, 512, random_}, {DType::kQ6_K, 17, 512, random_}};
  const RawMatrix raw[] = {parts[0].raw(), parts[1].raw(), parts[2].raw()};
  const auto packed = ops->Pack(raw, WeightPrecision::kAsStored).value();
  EXPECT_EQ(packed->rows(), 40 + 24 + 17);
  Matrix input = RandomMatrix(11, 512, random_);
  Matrix output = Multiply(*ops, *packed, input);
  int64_t column = 0;
  for (const RandomWeights& part : parts) {
    Matrix own = Multiply(*ops, *Pack(*ops, part), input);
    for (int64_t row = 0; row < input.rows; ++row) {
      EXPECT_TRUE(std::equal(own.Row(row), own.Row(row) + own.cols, output.Row(row) + column));
    }
    column += part.rows;
  }
}

TEST_P(MatMul, ReadsAndWritesStridedRows) {
  const auto ops = GetParam().MakeOps(2);
  const RandomWeights weights(DType::kQ8_0, 20, 64, random_);
  const auto packed = Pack(*ops, weights);
  Matrix input = RandomMatrix(9, 64, random_), wide_input = RandomMatrix(9, 100, random_);
  for (int64_t row = 0; row < 9; ++row) std::copy_n(input.Row(row), 64, wide_input.Row(row) + 13);
  Matrix expected = Multiply(*ops, *packed, input);
  Matrix wide_output(9, 50);
  MatMulArgs args;
  args.input = {wide_input.data.data() + 13, 9, 64, 100};
  args.weights = packed.get();
  args.output = {wide_output.data.data() + 7, 9, 20, 50};
  ops->MatMul(args);
  for (int64_t row = 0; row < 9; ++row) {
    EXPECT_TRUE(std::equal(expected.Row(row), expected.Row(row) + 20, wide_output.Row(row) + 7));
    EXPECT_EQ(wide_output.Row(row)[6], 0);
    EXPECT_EQ(wide_output.Row(row)[27], 0);
  }
}

TEST_P(MatMul, DoesNothingWithNoRows) {
  const auto ops = GetParam().MakeOps(2);
  const RandomWeights weights(DType::kQ4_1, 32, 64, random_);
  Matrix none(0, 64);
  EXPECT_EQ(Multiply(*ops, *Pack(*ops, weights), none).rows, 0);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatMul, testing::ValuesIn(KernelBuilds()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace quire
