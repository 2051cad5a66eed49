#include "kernels/cpu/cpu_features.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(CpuFeatures, NamesAndParsesEveryInstructionSet) {
  for (InstructionSet instruction_set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512Vnni,
        InstructionSet::kAvx512Bf16}) {
    EXPECT_EQ(ParseInstructionSet(NameOf(instruction_set)), instruction_set);
  }
  EXPECT_EQ(ParseInstructionSet("sse9"), std::nullopt);
  EXPECT_EQ(ParseInstructionSet(""), std::nullopt);
}

TEST(CpuFeatures, OffersThePortableKernelsEverywhere) {
  ASSERT_FALSE(SupportedInstructionSets().empty());
  EXPECT_EQ(SupportedInstructionSets().front(), InstructionSet::kPortable);
}

}  // namespace
}  // namespace quire
