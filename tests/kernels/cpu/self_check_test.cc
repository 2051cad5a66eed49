#include "kernels/cpu/self_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulation/kernel_builds.h"

namespace quire {
namespace {

using testing::HasSubstr;

TEST(CheckMatMulKernels, AcceptsEveryBuild) {
  for (const KernelBuild& build : KernelBuilds()) EXPECT_TRUE(CheckMatMulKernels(*build.mat_mul).ok()) << build.name;
}

void MultiplyButExchangeTwoChannels(const std::byte* panel, const std::byte* next, int64_t cols,
                                    const ActivationChunk& chunk, PanelProducts& products) {
  kPortableMatMulKernels.multiply[static_cast<int>(DType::kQ4_1)](panel, next, cols, chunk, products);
  std::swap(products.rows[4][3], products.rows[4][11]);
}

void MultiplyToNaN(const std::byte*, const std::byte*, int64_t, const ActivationChunk& chunk, PanelProducts& products) {
  for (int row = 0; row < chunk.rows; ++row) {
    for (float& product : products.rows[row]) product = std::nanf("");
  }
}

TEST(CheckMatMulKernels, RefusesWrongProducts) {
  for (auto* multiply : {MultiplyButExchangeTwoChannels, MultiplyToNaN}) {
    MatMulKernels broken = kPortableMatMulKernels;
    broken.multiply[static_cast<int>(DType::kQ4_1)] = multiply;
    const absl::Status status = CheckMatMulKernels(broken);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("instead of"));
  }
}

constexpr InstructionSet kSupported[] = {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512Vnni,
                                         InstructionSet::kAmx};

TEST(BestInstructionSet, IsTheLastThatPassesItsCheck) {
  const InstructionSetChoice choice = BestInstructionSet(kSupported, [](InstructionSet) { return absl::OkStatus(); });
  EXPECT_EQ(choice.instruction_set, InstructionSet::kAmx);
  EXPECT_EQ(choice.warning, "");
}

TEST(BestInstructionSet, FallsBackAndSaysWhy) {
  std::vector<InstructionSet> checked;
  const InstructionSetChoice choice = BestInstructionSet(kSupported, [&](InstructionSet instruction_set) {
    checked.push_back(instruction_set);
    return absl::InternalError("product 7 is 1 instead of 2");
  });
  EXPECT_EQ(choice.instruction_set, InstructionSet::kAvx512Vnni);
  EXPECT_THAT(choice.warning, HasSubstr("amx is not used"));
  EXPECT_THAT(choice.warning, HasSubstr("product 7 is 1 instead of 2"));
  EXPECT_EQ(checked, std::vector{InstructionSet::kAmx});
}

}  // namespace
}  // namespace quire
