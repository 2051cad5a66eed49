// Weight matrices of any format with random contents, as a model file would hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/tensor_view.h"

namespace quire {

inline constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                                       DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                       DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Every code is as likely as any other, and weights are about as large as a model's.
struct RandomWeights {
  RandomWeights(DType weights_dtype, int64_t num_rows, int64_t num_cols, std::mt19937& random);

  RawMatrix raw() const { return {dtype, rows, cols, bytes}; }
  // All rows, dequantised.
  std::vector<float> Values() const;

  DType dtype;
  int64_t rows;
  int64_t cols;
  std::vector<std::byte> bytes;
};

}  // namespace quire
