#include "tests/kernels/random_weights.h"

#include <cstring>
#include <span>

#include "kernels/bfloat16.h"
#include "kernels/dequantize.h"
#include "kernels/float16.h"

namespace quire {
namespace {

// Where a block of the format keeps its float16 scales.
std::vector<int> ScalePositions(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// Of the weights in units of the block's scale.
float Spread(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return 128;
    case DType::kQ4_K:
    case DType::kQ5_K:
      return 32 * 16;
    case DType::kQ6_K:
      return 64 * 32;
    default:
      return 8;
  }
}

void Put(uint16_t bits, std::byte* at) { std::memcpy(at, &bits, sizeof(bits)); }

}  // namespace

RandomWeights::RandomWeights(DType weights_dtype, int64_t num_rows, int64_t num_cols, std::mt19937& random)
    : dtype(weights_dtype), rows(num_rows), cols(num_cols) {
  const DTypeTraits traits = TraitsOf(dtype);
  const int64_t blocks = rows * cols / traits.block_elements;
  bytes.resize(blocks * traits.block_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < blocks; ++i) {
    std::byte* block = bytes.data() + i * traits.block_bytes;
    if (dtype == DType::kF32) {
      const float value = normal(random);
      std::memcpy(block, &value, sizeof(value));
    } else if (dtype == DType::kF16) {
      Put(ToFloat16(normal(random)), block);
    } else if (dtype == DType::kBF16) {
      Put(ToBFloat16(normal(random)), block);
    } else {
      for (int at : ScalePositions(dtype)) Put(ToFloat16(normal(random) / Spread(dtype)), block + at);
    }
  }
}

std::vector<float> RandomWeights::Values() const {
  std::vector<float> values(rows * cols);
  for (int64_t row = 0; row < rows; ++row) {
    DequantizeRow(dtype, bytes.data() + row * (bytes.size() / rows), std::span(values).subspan(row * cols, cols));
  }
  return values;
}

}  // namespace quire
