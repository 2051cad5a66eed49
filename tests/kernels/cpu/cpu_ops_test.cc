#include "kernels/cpu/cpu_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/random_weights.h"

namespace quire {
namespace {

using testing::HasSubstr;

TEST(MakeCpuOps, DescribesWhatItChose) {
  const auto ops = MakeCpuOps({.num_threads = 3, .instruction_set = "portable"});
  ASSERT_TRUE(ops.ok());
  EXPECT_EQ((*ops)->Description(), "cpu, portable, 3 workers");
  const auto best = MakeCpuOps({});
  ASSERT_TRUE(best.ok());
  EXPECT_THAT((*best)->Description(), HasSubstr(std::string(NameOf(SupportedInstructionSets().back()))));
}

TEST(MakeCpuOps, RefusesWhatTheMachineCannotDo) {
  const auto unknown = MakeCpuOps({.num_threads = 1, .instruction_set = "mmx"});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("\"mmx\""));
  for (int threads : {-1, 100000}) {
    EXPECT_EQ(MakeCpuOps({.num_threads = threads, .instruction_set = ""}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

class CpuOpsTest : public testing::Test {
 protected:
  std::mt19937 random_{7};
  std::unique_ptr<Ops> ops_ = MakeCpuOps({.num_threads = 2, .instruction_set = ""}).value();
};

TEST_F(CpuOpsTest, EmbedsEveryFormatExactly) {
  for (DType dtype : kAllDTypes) {
    SCOPED_TRACE(TraitsOf(dtype).name);
    const RandomWeights weights(dtype, 21, 512, random_);
    const RawMatrix part = weights.raw();
    const auto table = ops_->Pack({&part, 1}, WeightPrecision::kAsStored).value();
    EXPECT_EQ(table->rows(), 21);
    EXPECT_EQ(table->cols(), 512);
    const std::vector<int32_t> ids = {20, 0, 15, 16, 15, 7};
    Matrix output(6, 512);
    ops_->Embed(*table, ids, output.view());
    const std::vector<float> values = weights.Values();
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(std::memcmp(output.Row(i), values.data() + ids[i] * 512, 512 * sizeof(float)), 0) << "row " << ids[i];
    }
  }
}

TEST_F(CpuOpsTest, PacksWeightsAtAboutTheFilesSize) {
  for (const auto& [dtype, bits] : {std::pair{DType::kQ4_1, 5.0}, {DType::kQ4_0, 4.5}, {DType::kQ8_0, 8.5}}) {
    const RandomWeights weights(dtype, 64, 1024, random_);
    const RawMatrix part = weights.raw();
    EXPECT_EQ(static_cast<double>(ops_->Pack({&part, 1}, WeightPrecision::kAsStored).value()->bytes()),
              64 * 1024 * bits / 8);
  }
}

TEST_F(CpuOpsTest, RefusesToPackShapesThatDoNotFit) {
  const RandomWeights a(DType::kQ4_0, 16, 64, random_), b(DType::kQ4_0, 16, 96, random_),
      c(DType::kQ4_0, 32, 64, random_);
  const auto expect_invalid = [](const absl::Status& status, const char* what) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  };
  const RawMatrix different_cols[] = {a.raw(), b.raw()};
  expect_invalid(ops_->Pack(different_cols, WeightPrecision::kAsStored).status(), "stacked");
  expect_invalid(ops_->Pack({}, WeightPrecision::kAsStored).status(), "no matrix");
  expect_invalid(ops_->PackGated(a.raw(), c.raw(), WeightPrecision::kAsStored).status(), "gate");
  const RawMatrix empty = {DType::kF32, 0, 64, {}};
  expect_invalid(ops_->Pack({&empty, 1}, WeightPrecision::kAsStored).status(), "no usable shape");
  const RawMatrix broken_block = {DType::kQ4_K, 16, 96, {}};
  expect_invalid(ops_->Pack({&broken_block, 1}, WeightPrecision::kAsStored).status(), "multiple of 256");
}

TEST_F(CpuOpsTest, PacksNothingInFloat8) {
  std::mt19937 random(20261128);
  const RandomWeights weights(DType::kF32, 32, 64, random);
  const RawMatrix part = weights.raw();
  EXPECT_FALSE(ops_->can_pack(WeightPrecision::kFloat8));
  for (const auto& packed : {ops_->Pack({&part, 1}, WeightPrecision::kFloat8).status(),
                             ops_->PackGated(part, part, WeightPrecision::kFloat8).status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(packed)) << packed;
  }
}

TEST_F(CpuOpsTest, GathersRowsInAnyOrder) {
  Matrix input = RandomMatrix(5, 33, random_), output(4, 33);
  const std::vector<int32_t> rows = {4, 0, 0, 3};
  ops_->GatherRows(input.view(), rows, output.view());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(std::equal(input.Row(rows[i]), input.Row(rows[i]) + 33, output.Row(i)));
  }
}

TEST_F(CpuOpsTest, DoesHostWorkOnceForEveryIndexAndNeverTwiceAtATimeOnOneWorker) {
  for (int64_t count : {0, 1, 2, 100}) {
    std::vector<std::atomic<int>> done(count);
    std::vector<std::atomic<int>> busy(ops_->num_host_workers());
    ops_->ForEach(count, [&](int64_t index, int worker) {
      EXPECT_EQ(busy[worker].fetch_add(1), 0);
      ++done[index];
      --busy[worker];
    });
    for (const std::atomic<int>& times : done) EXPECT_EQ(times, 1);
  }
}

TEST_F(CpuOpsTest, AllocatesZeroedBuffersAndSaysWhenItCannot) {
  const auto buffer = ops_->Allocate(1 << 20);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ((*buffer)->size(), 1 << 20);
  for (int i = 0; i < 1 << 20; ++i) ASSERT_EQ((*buffer)->data()[i], 0);
  for (int bits : {60, 62}) {
    EXPECT_EQ(ops_->Allocate(int64_t{1} << bits).status().code(), absl::StatusCode::kResourceExhausted);
  }
}

}  // namespace
}  // namespace quire
