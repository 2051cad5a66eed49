#include "kernels/cpu/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quire {
namespace {

TEST(CpuFeatures, NamesAndParsesEveryInstructionSet) {
  for (InstructionSet instruction_set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx2Vnni, InstructionSet::kAvx512Vnni,
        InstructionSet::kAvx512Bf16, InstructionSet::kAmx}) {
    EXPECT_EQ(ParseInstructionSet(NameOf(instruction_set)), instruction_set);
  }
  EXPECT_EQ(ParseInstructionSet("sse9"), std::nullopt);
  EXPECT_EQ(ParseInstructionSet(""), std::nullopt);
}

TEST(CpuFeatures, ListsEveryNameForMessages) {
  EXPECT_EQ(InstructionSetNames(), "portable, avx2, avx2-vnni, avx512-vnni, avx512-bf16 or amx");
}

TEST(CpuFeatures, OffersTheBestLast) {
  const std::vector<InstructionSet> supported = SupportedInstructionSets();
  EXPECT_TRUE(std::ranges::is_sorted(supported));
}

TEST(CpuFeatures, OffersThePortableKernelsEverywhere) {
  ASSERT_FALSE(SupportedInstructionSets().empty());
  EXPECT_EQ(SupportedInstructionSets().front(), InstructionSet::kPortable);
}

}  // namespace
}  // namespace quire
