#include "kernels/cuda/embed.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/affine_groups.h"
#include "kernels/bfloat16.h"
#include "kernels/dtype.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/cuda/device_weights.h"

namespace quire {
namespace {

TEST(CudaEmbed, GivesTheFloatsThatTheFileMeans) {
  std::mt19937 random(20261124);
  for (DType dtype : kAllDTypes) {
    for (int blocks : {1, 3}) {
      const int cols = TraitsOf(dtype).block_elements == 1 ? 51 * blocks : TraitsOf(dtype).block_elements * blocks;
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << ", K = " << cols);
      const RandomWeights weights(dtype, 37, cols, random);
      std::vector<float> values = weights.Values();
      if (!IsQuantized(dtype)) {
        for (float& value : values) value = FromBFloat16(ToBFloat16(value));
      }
      const std::vector<int32_t> ids = {36, 0, 15, 16, 7, 8, 31, 32, 0};
      Matrix output(static_cast<int64_t>(ids.size()), cols + 3);
      const auto packed = PackOnDevice(weights);
      Embed(*packed, ids.data(), nullptr, {output.data.data(), output.rows, cols, cols + 3}, nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      for (size_t i = 0; i < ids.size(); ++i) {
        const float* const row = output.Row(static_cast<int64_t>(i));
        EXPECT_TRUE(std::equal(row, row + cols, values.data() + ids[i] * cols)) << "row " << ids[i];
        EXPECT_EQ(row[cols], 0);
      }
    }
  }
}

TEST(CudaEmbed, DoesNothingWithNoIds) {
  std::mt19937 random(20261124);
  const RandomWeights weights(DType::kQ4_1, 32, 64, random);
  Embed(*PackOnDevice(weights), nullptr, nullptr, {nullptr, 0, 64, 64}, nullptr);
}

TEST(CudaGatherRows, CopiesRowsInAnyOrder) {
  std::mt19937 random(20261124);
  Matrix input = RandomMatrix(9, 300, random), output(5, 320);
  const std::vector<int32_t> rows = {8, 0, 3, 3, 7};
  GatherRows({input.data.data() + 7, 9, 290, 300}, rows.data(), {output.data.data(), 5, 290, 320}, nullptr);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (size_t i = 0; i < rows.size(); ++i) {
    const float* const row = output.Row(static_cast<int64_t>(i));
    EXPECT_TRUE(std::equal(row, row + 290, input.Row(rows[i]) + 7));
    EXPECT_EQ(row[290], 0);
  }
}

}  // namespace
}  // namespace quire
