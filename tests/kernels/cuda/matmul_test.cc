// MatMul's kernels on the emulated device: against exact sums of the rounded operands, and against the reference.
#include "kernels/cuda/matmul.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/affine_groups.h"
#include "kernels/bfloat16.h"
#include "kernels/cuda/matmul_kernel.h"
#include "tests/cuda_shim/control.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/device_weights.h"
#include "tests/kernels/cuda/matmul_fixture.h"
#include "tests/reference/reference_ops.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr int kAllRowCounts[] = {1, 2, 7, 8, 9, 16, 17, 32, 33, 63, 64, 65, 128, kMostRows};
// The weights that the kernels multiply with: dequantised in one step and rounded to bfloat16.
std::vector<float> RoundedWeights(const RandomWeights& weights) {
  std::vector<float> values = weights.Values();
  if (IsQuantized(weights.dtype)) {
    const AffineFormat format = AffineFormatOf(weights.dtype);
    const int64_t row_bytes = static_cast<int64_t>(weights.bytes.size()) / weights.rows;
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / weights.cols, col = static_cast<int64_t>(i) % weights.cols;
      AffineGroup group;
      DecodeGroup(weights.dtype, weights.bytes.data() + row * row_bytes, col / kGroupSize, group);
      const auto code = static_cast<float>(group.codes[col % kGroupSize] - format.zero_point());
      values[i] = std::fma(group.scales[col % kGroupSize / 16], code, format.has_offset ? group.offset : 0.0f);
    }
  }
  for (float& value : values) value = FromBFloat16(ToBFloat16(value));
  return values;
}

void ExpectProducts(const RandomWeights& weights, Matrix& input, Matrix& actual, double tolerance) {
  const std::vector<float> values = RoundedWeights(weights);
  for (int64_t m = 0; m < input.rows; ++m) {
    for (int64_t n = 0; n < weights.rows; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < input.cols; ++k) {
        const double product = double{FromBFloat16(ToBFloat16(input.Row(m)[k]))} * values[n * input.cols + k];
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(actual.Row(m)[n], sum, tolerance * magnitude) << "row " << m << ", channel " << n;
    }
  }
}

TEST_F(CudaMatMul, MultipliesEveryFormatExactlyButForRounding) {
  for (DType dtype : kAllDTypes) {
    for (const auto& [rows, cols] : {std::pair<int, int>{16, 256}, {1, 512}, {37, 768}, {150, 1536}}) {
      const RandomWeights weights(dtype, rows, cols, random_);
      const auto packed = PackOnDevice(weights);
      for (int m : {1, 9, 33}) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << " [" << rows << ", " << cols << "], M = " << m);
        Matrix input = RandomMatrix(m, cols, random_);
        Matrix output = Multiply(*packed, input);
        ExpectProducts(weights, input, output, 1e-6);
      }
    }
  }
}

TEST_F(CudaMatMul, TakesAnyWidthThatTheFormatAllows) {
  for (DType dtype : kAllDTypes) {
    const int block = TraitsOf(dtype).block_elements;
    for (int cols : {block, 3 * block, block == 1 ? 51 : 5 * block, block == 1 ? 65 : 7 * block}) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", K = " << cols);
      const RandomWeights weights(dtype, 19, cols, random_);
      Matrix input = RandomMatrix(3, cols, random_);
      Matrix output = Multiply(*PackOnDevice(weights), input);
      ExpectProducts(weights, input, output, 1e-6);
    }
  }
}

TEST_F(CudaMatMul, MultipliesManyRowsExactlyButForRounding) {
  const RandomWeights weights(DType::kQ4_1, 300, 192, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(kMostRows, 192, random_);
  for (MatMulScratch* scratch : {&scratch_, &serial_scratch_}) {
    Matrix output = Multiply(*scratch, *packed, input, {});
    ExpectProducts(weights, input, output, 1e-6);
  }
}

// Every variant of the kernel, and both ways of bringing slices together.
TEST_F(CudaMatMul, GivesARowTheSameBitsInEveryBatch) {
  const int cols = 512;
  ASSERT_GT(SlicesOf(5, TilesOf(cols)), 1);
  const std::vector<float> norm_weight(cols, 1.5f);
  GridCases cases(3);
  for (DType dtype : {DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kQ8_0, DType::kQ5_1, DType::kQ5_K,
                      DType::kQ6_K}) {
    for (bool gated : {false, true}) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << (gated ? ", gated" : ""));
      const RandomWeights first(dtype, 72, cols, random_), second(dtype, 72, cols, random_);
      const auto packed = gated ? PackGatedOnDevice(first, second) : PackOnDevice(first);
      MatMulArgs args;
      args.norm = {norm_weight, 1e-5f};
      args.epilogue = gated ? Epilogue::kGate : Epilogue::kStore;
      Matrix all = RandomMatrix(kMostRows, cols, random_);
      Matrix expected = Multiply(*packed, all, args);
      for (int m : kAllRowCounts) {
        if (!cases.Takes()) continue;
        SCOPED_TRACE(testing::Message() << "M = " << m);
        const int64_t begin = (kMostRows - m) / 2;
        Matrix some = Rows(all, begin, m);
        Matrix actual = Multiply(*packed, some, args);
        ExpectSameRows(actual, expected, begin);
        if (m != 1 && m != 65) continue;
        Matrix serial = Multiply(serial_scratch_, *packed, some, args);
        ExpectSameRows(serial, expected, begin);
      }
    }
  }
}

TEST_F(CudaMatMul, GivesARowTheSameBitsInEveryPlace) {
  const RandomWeights weights(DType::kQ4_1, 40, 256, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(70, 256, random_), shuffled(70, 256);
  std::vector<int64_t> order(70);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random_);
  for (int64_t row = 0; row < 70; ++row) std::copy_n(input.Row(order[row]), 256, shuffled.Row(row));
  Matrix expected = Multiply(*packed, input);
  Matrix actual = Multiply(*packed, shuffled);
  for (int64_t row = 0; row < 70; ++row) ExpectSameBits(actual, row, expected, order[row]);
}

TEST_F(CudaMatMul, GivesTheSameBitsInAnyOrderOfBlocks) {
  const RandomWeights weights(DType::kQ5_K, 300, 1024, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(65, 1024, random_);
  Matrix expected = Multiply(*packed, input);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    cuda_shim::SetSchedulingSeed(seed);
    for (int m : {3, 65}) {
      Matrix some = Rows(input, 0, m);
      Matrix actual = Multiply(*packed, some);
      ExpectSameRows(actual, expected);
    }
  }
}

TEST_F(CudaMatMul, KeepsNonFiniteRowsToThemselves) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (DType dtype : {DType::kQ4_1, DType::kQ8_0, DType::kQ6_K, DType::kF32}) {
    const RandomWeights weights(dtype, 40, 256, random_);
    const auto packed = PackOnDevice(weights);
    const std::vector<float> norm_weight(256, 1.0f);
    for (float poison : {std::nanf(""), infinity, -infinity}) {
      for (bool normalized : {false, true}) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", " << poison
                                        << (normalized ? ", normalised" : ""));
        MatMulArgs args;
        if (normalized) args.norm = {norm_weight, 1e-5f};
        ExpectPoisonInItsRowsAlone(*packed, RandomMatrix(13, 256, random_), args, poison,
                                   [](float y) { return !std::isfinite(y); });
      }
    }
  }
}

// How far off a product is on average, which a bound on its worst case does not tell.
TEST_F(CudaMatMul, IsAsNearToTheReferenceAsBFloat16Allows) {
  ReferenceOps reference;
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const RandomWeights weights(dtype, 48, 768, random_);
    const RawMatrix part = weights.raw();
    Matrix input = RandomMatrix(4, 768, random_), expected(4, 48);
    const auto packed = reference.Pack({&part, 1}, WeightPrecision::kAsStored).value();
    MatMulArgs args;
    args.input = input.view();
    args.weights = packed.get();
    args.output = expected.view();
    reference.MatMul(args);
    const Matrix actual = Multiply(*PackOnDevice(weights), input);
    double error = 0, square = 0;
    for (size_t i = 0; i < expected.data.size(); ++i) {
      error += std::pow(double{actual.data[i]} - expected.data[i], 2);
      square += std::pow(double{expected.data[i]}, 2);
    }
    EXPECT_LT(std::sqrt(error / square), 0x1p-8);
  }
}

// As in files whose V is kept at a higher precision than its neighbours.
TEST_F(CudaMatMul, StacksPartsOfDifferentFormats) {
  const RandomWeights parts[] = {{DType::kQ4_K, 40, 512, random_},
                                 {DType::kQ4_K, 21, 512, random_},
                                 {DType::kF16, 24, 512, random_},
                                 {DType::kQ6_K, 17, 512, random_}};
  const RawMatrix raw[] = {parts[0].raw(), parts[1].raw(), parts[2].raw(), parts[3].raw()};
  const auto packed = PackOnDevice(raw).value();
  Matrix input = RandomMatrix(11, 512, random_);
  Matrix output = Multiply(*packed, input);
  int64_t column = 0;
  for (const RandomWeights& part : parts) {
    Matrix own(11, part.rows);
    for (int64_t row = 0; row < 11; ++row) std::copy_n(output.Row(row) + column, part.rows, own.Row(row));
    ExpectProducts(part, input, own, 1e-6);
    column += part.rows;
  }
}

TEST_F(CudaMatMul, ReadsAndWritesStridedRows) {
  const RandomWeights weights(DType::kQ8_0, 20, 64, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(9, 64, random_), wide_input = RandomMatrix(9, 101, random_);
  for (int64_t row = 0; row < 9; ++row) std::copy_n(input.Row(row), 64, wide_input.Row(row) + 13);
  Matrix expected = Multiply(*packed, input), wide_output(9, 51);
  MatMulArgs args;
  args.input = {wide_input.data.data() + 13, 9, 64, 101};
  args.weights = packed.get();
  args.output = {wide_output.data.data() + 7, 9, 20, 51};
  MultiplyAndWait(args, scratch_);
  for (int64_t row = 0; row < 9; ++row) {
    EXPECT_TRUE(std::equal(expected.Row(row), expected.Row(row) + 20, wide_output.Row(row) + 7));
    EXPECT_EQ(wide_output.Row(row)[6], 0);
    EXPECT_EQ(wide_output.Row(row)[27], 0);
  }
}

TEST_F(CudaMatMul, TakesInputsOfAnyMagnitude) {
  const RandomWeights weights(DType::kQ4_0, 16, 64, random_);
  const auto packed = PackOnDevice(weights);
  for (float magnitude : {0.0f, 1e-45f, 1e-38f, 1e-30f, 1e30f}) {
    SCOPED_TRACE(magnitude);
    Matrix input = RandomMatrix(2, 64, random_);
    for (float& x : input.data) x *= magnitude;
    const Matrix output = Multiply(*packed, input);
    for (float y : output.data) {
      EXPECT_TRUE(std::isfinite(y));
      EXPECT_LE(std::abs(y), 1000 * magnitude);
    }
  }
}

TEST_F(CudaMatMul, DoesNothingWithNoRows) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device counts kernels";
  const RandomWeights weights(DType::kQ4_1, 32, 64, random_);
  Matrix none(0, 64);
  const int64_t kernels = cuda_shim::NumKernelsRun();
  EXPECT_EQ(Multiply(*PackOnDevice(weights), none).rows, 0);
  EXPECT_EQ(cuda_shim::NumKernelsRun(), kernels);
}

TEST_F(CudaMatMul, ReplaysWhatWasCaptured) {
  const RandomWeights weights(DType::kQ4_1, 40, 512, random_);
  const auto packed = PackOnDevice(weights);
  Matrix input = RandomMatrix(7, 512, random_), output(7, 40);
  MatMulArgs args;
  args.input = input.view();
  args.weights = packed.get();
  args.output = output.view();
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  MatMul(args, scratch_, stream);
  cudaGraph_t graph;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphExec_t executable;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph), cudaSuccess);
  for (int step = 0; step < 2; ++step) {
    for (float& x : input.data) x = -2 * x;
    ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    Matrix expected = Multiply(*packed, input);
    ExpectSameRows(output, expected);
  }
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(CudaMatMul, KeepsScratchMemoryThatIsLargeEnough) {
  const int64_t bytes = scratch_.bytes();
  ASSERT_TRUE(scratch_.Reserve(8, 64, nullptr).ok());
  EXPECT_EQ(scratch_.bytes(), bytes);
  EXPECT_TRUE(scratch_.HasRoomFor(kMostRows, 2048));
  EXPECT_FALSE(scratch_.HasRoomFor(kMostRows + 1, 64));
  EXPECT_FALSE(scratch_.HasRoomFor(kMostRows, 2049));
}

TEST_F(CudaMatMul, SaysWhenScratchMemoryCannotBeHad) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  MatMulScratch scratch;
  cuda_shim::FailNext(cuda_shim::Call::kMalloc, cudaErrorMemoryAllocation, /*after=*/1);
  EXPECT_EQ(scratch.Reserve(64, 512, nullptr).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(scratch.HasRoomFor(64, 512));
  cuda_shim::Reset();
  EXPECT_TRUE(scratch.Reserve(64, 512, nullptr).ok());
}

}  // namespace
}  // namespace quire
