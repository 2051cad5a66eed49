// What tests of kernels run: every instruction set that the machine has, and stand-ins for those that it lacks.
#pragma once

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/ops.h"

namespace quire {

struct KernelBuild {
  std::string name;                // "avx2_vnni", "avx2_vnni_emulated"; fit for the name of a test.
  InstructionSet instruction_set;  // Whose attention goes with the matrix kernels; the machine has it.
  const MatMulKernels* mat_mul;

  std::unique_ptr<Ops> MakeOps(int num_threads) const;
};

std::vector<KernelBuild> KernelBuilds();

// The one of that name, if it can run here.
std::optional<KernelBuild> FindKernelBuild(const std::string& name);

// As a test's parameter is printed.
void PrintTo(const KernelBuild& build, std::ostream* out);

}  // namespace quire
