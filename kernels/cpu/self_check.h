// Whether kernels compute what they should on this very machine: for those whose instructions are so rare that most
// builds of them are never tested on a processor that has them.
#pragma once

#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_kernels.h"

namespace quire {

// Multiplies a small matrix and compares the products with the portable kernels': INTERNAL, with the numbers, if
// one is further away than rounding explains. Takes well under a
// millisecond.
absl::Status CheckMatMulKernels(const MatMulKernels& kernels);

struct InstructionSetChoice {
  InstructionSet instruction_set = InstructionSet::kPortable;
  std::string warning;  // Why not a better one, if there is one.
};

// The best of `supported` (ascending, kPortable first) that passes `check`. Only sets above kAvx512Bf16 are checked.
InstructionSetChoice BestInstructionSet(std::span<const InstructionSet> supported,
                                        absl::FunctionRef<absl::Status(InstructionSet)> check);

}  // namespace quire
