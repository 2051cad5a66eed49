// What MatMul does before and after the products, on the emulated device, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/cuda/matmul.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/device_weights.h"
#include "tests/kernels/cuda/float8_products.h"
#include "tests/kernels/cuda/matmul_fixture.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

constexpr int kChannels = 41;  // Of each of two matrices.
// What rounding both factors to bfloat16 can do to a product, and a little for the sums.
constexpr double kRoundingOfProducts = 0x1p-8 * 1.01;
// An activation's steepest slope is less.
constexpr double kMostSlope = 1.13;

// The sum of |input||weight| for each element of a product, the input normalised as the reference does it.
std::vector<double> Magnitudes(const RandomWeights& weights, Matrix& input, const RmsNorm& norm) {
  const std::vector<float> values = weights.Values();
  std::vector<double> magnitudes;
  for (int64_t m = 0; m < input.rows; ++m) {
    double squares = 0;
    for (int64_t k = 0; k < input.cols; ++k) squares += double{input.Row(m)[k]} * input.Row(m)[k];
    const double scale =
        norm.weight.empty() ? 1 : 1 / std::sqrt(squares / static_cast<double>(input.cols) + norm.epsilon);
    for (int64_t n = 0; n < weights.rows; ++n) {
      double magnitude = 0;
      for (int64_t k = 0; k < input.cols; ++k) {
        const double x = input.Row(m)[k] * scale * (norm.weight.empty() ? 1 : norm.weight[k]);
        magnitude += std::abs(x * values[n * input.cols + k]);
      }
      magnitudes.push_back(magnitude);
    }
  }
  return magnitudes;
}

// How far from the reference each element of a product may be.
std::vector<double> Errors(const RandomWeights& weights, WeightPrecision precision, Matrix& input,
                           const RmsNorm& norm) {
  if (precision == WeightPrecision::kFloat8) return Float8Products(weights.Values(), input, norm).tolerances;
  std::vector<double> errors = Magnitudes(weights, input, norm);
  for (double& error : errors) error *= kRoundingOfProducts;
  return errors;
}

// The same for the elements of the output. A gate and its up-projection both carry the error of their products.
std::vector<double> Tolerances(const RandomWeights& first, const RandomWeights& second, WeightPrecision precision,
                               Matrix& input, MatMulArgs args) {
  const std::vector<double> of_first = Errors(first, precision, input, args.norm);
  const std::vector<double> of_second = Errors(second, precision, input, args.norm);
  std::vector<double> tolerances;
  if (args.epilogue != Epilogue::kGate) {
    for (int64_t row = 0; row < input.rows; ++row) {
      for (const std::vector<double>* errors : {&of_first, &of_second}) {
        for (int i = 0; i < kChannels; ++i) tolerances.push_back((*errors)[row * kChannels + i]);
      }
    }
    return tolerances;
  }
  ReferenceOps reference;
  const RawMatrix parts[] = {first.raw(), second.raw()};
  const auto packed = reference.Pack(parts, precision).value();
  Matrix products(input.rows, 2 * kChannels);
  args.weights = packed.get();
  args.epilogue = Epilogue::kStore;
  args.output = products.view();
  reference.MatMul(args);
  for (int64_t row = 0; row < input.rows; ++row) {
    for (int i = 0; i < kChannels; ++i) {
      const double gate_error = kMostSlope * of_first[row * kChannels + i];
      const double up_error = of_second[row * kChannels + i];
      const double gate = std::abs(products.Row(row)[i]), up = std::abs(products.Row(row)[kChannels + i]);
      tolerances.push_back(gate_error * up + gate * up_error + gate_error * up_error);
    }
  }
  return tolerances;
}

struct EpilogueCase {
  Epilogue epilogue = Epilogue::kStore;
  Activation activation = Activation::kSilu;
  bool normalized = false;
  bool with_bias = false;
};

std::vector<EpilogueCase> AllEpilogueCases() {
  std::vector<EpilogueCase> cases;
  for (bool normalized : {false, true}) {
    for (bool with_bias : {false, true}) {
      for (Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kGate}) {
        cases.push_back({epilogue, Activation::kSilu, normalized, with_bias});
      }
      cases.push_back({Epilogue::kGate, Activation::kGelu, normalized, with_bias});
    }
  }
  return cases;
}

class CudaMatMulEpilogue : public CudaMatMul {
 protected:
  // Runs both with args and compares them.
  void ExpectAgreement(const RandomWeights& first, const RandomWeights& second, WeightPrecision precision, int m,
                       MatMulArgs args) {
    ReferenceOps reference;
    const bool gated = args.epilogue == Epilogue::kGate;
    const RawMatrix parts[] = {first.raw(), second.raw()};
    Matrix input = RandomMatrix(m, first.cols, random_);
    Matrix output = RandomMatrix(m, gated ? kChannels : 2 * kChannels, random_), expected = output;
    const auto packed = PackOnDevice(parts, gated, precision).value();
    args.input = input.view();
    args.weights = packed.get();
    args.output = output.view();
    MultiplyAndWait(args, scratch_);
    const auto expected_packed =
        gated ? reference.PackGated(parts[0], parts[1], precision).value() : reference.Pack(parts, precision).value();
    args.weights = expected_packed.get();
    args.output = expected.view();
    reference.MatMul(args);
    const std::vector<double> tolerances = Tolerances(first, second, precision, input, args);
    for (size_t i = 0; i < output.data.size(); ++i) {
      ASSERT_NEAR(output.data[i], expected.data[i], tolerances[i] + 1e-6 * (1 + std::abs(expected.data[i]))) << i;
    }
  }
};

TEST_F(CudaMatMulEpilogue, FusesNormBiasAndEpiloguesAsTheReferenceDoes) {
  struct Weights {
    DType dtype;
    int cols;
    WeightPrecision precision = WeightPrecision::kAsStored;
  };
  for (const auto& [dtype, cols, precision] : {Weights{DType::kF32, 51},
                                               {DType::kQ4_1, 576},
                                               {DType::kQ6_K, 512},
                                               {DType::kF32, 51, WeightPrecision::kFloat8},
                                               {DType::kQ4_1, 576, WeightPrecision::kFloat8}}) {
    const RandomWeights first(dtype, kChannels, cols, random_), second(dtype, kChannels, cols, random_);
    Matrix norm_weight = RandomMatrix(1, cols, random_), bias = RandomMatrix(1, 2 * kChannels, random_);
    for (const EpilogueCase& test : AllEpilogueCases()) {
      for (int m : {1, 20, 70}) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", precision " << static_cast<int>(precision)
                                        << ", epilogue " << static_cast<int>(test.epilogue) << ", activation "
                                        << static_cast<int>(test.activation) << ", norm " << test.normalized
                                        << ", bias " << test.with_bias << ", M = " << m);
        MatMulArgs args;
        if (test.normalized) args.norm = {norm_weight.data, 1e-5f};
        if (test.with_bias) args.bias = bias.data;
        args.epilogue = test.epilogue;
        args.activation = test.activation;
        ExpectAgreement(first, second, precision, m, args);
      }
    }
  }
}

TEST_F(CudaMatMulEpilogue, GatesFarFromZeroWithoutOverflow) {
  // Identity weights: the gate sees the input itself, and up is 1.
  std::vector<float> identity(16 * 16, 0.0f), ones(16 * 16, 0.0f);
  for (int i = 0; i < 16; ++i) identity[i * 16 + i] = 1;
  for (int i = 0; i < 16; ++i) ones[i * 16 + 15] = 1;
  const RawMatrix parts[] = {{DType::kF32, 16, 16, std::as_bytes(std::span(identity))},
                             {DType::kF32, 16, 16, std::as_bytes(std::span(ones))}};
  const auto packed = PackOnDevice(parts, /*gated=*/true).value();
  Matrix input(1, 16);
  input.data = {-1e30f, -1000, -100, -88, -20, -5, -1, -0.25f, 0, 0.25f, 1, 5, 20, 100, 1e30f, 1};
  for (Activation activation : {Activation::kSilu, Activation::kGelu}) {
    MatMulArgs args;
    args.epilogue = Epilogue::kGate;
    args.activation = activation;
    const Matrix output = Multiply(*packed, input, args);
    for (int i = 0; i < 16; ++i) {
      const double x = FromBFloat16(ToBFloat16(input.data[i]));
      const double expected = activation == Activation::kSilu
                                  ? x / (1 + std::exp(-x))
                                  : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      EXPECT_NEAR(output.data[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << x;
    }
  }
}

TEST_F(CudaMatMulEpilogue, GatesPartsOfDifferentFormats) {
  const RandomWeights gate(DType::kQ4_K, 40, 256, random_), up(DType::kQ6_K, 40, 256, random_);
  const auto packed = PackGatedOnDevice(gate, up);
  Matrix input = RandomMatrix(5, 256, random_);
  MatMulArgs args;
  args.epilogue = Epilogue::kGate;
  Matrix output = Multiply(*packed, input, args);
  Matrix gates = Multiply(*PackOnDevice(gate), input), ups = Multiply(*PackOnDevice(up), input);
  for (size_t i = 0; i < output.data.size(); ++i) {
    const double x = gates.data[i];
    EXPECT_NEAR(output.data[i], x / (1 + std::exp(-x)) * ups.data[i], 1e-2 * (1 + std::abs(x * ups.data[i])));
  }
}

TEST_F(CudaMatMulEpilogue, AddsToItsOwnInput) {
  const RandomWeights weights(DType::kQ8_0, 64, 64, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(9, 64, random_);
  Matrix products = Multiply(*packed, input), both = input;
  MatMulArgs args;
  args.input = both.view();
  args.weights = packed.get();
  args.epilogue = Epilogue::kAdd;
  args.output = both.view();
  MultiplyAndWait(args, scratch_);
  for (size_t i = 0; i < both.data.size(); ++i) EXPECT_EQ(both.data[i], input.data[i] + products.data[i]);
}

}  // namespace
}  // namespace quire
