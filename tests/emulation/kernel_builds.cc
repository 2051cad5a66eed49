#include "tests/emulation/kernel_builds.h"

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "tests/emulation/emulated_kernels.h"

namespace quire {

std::unique_ptr<Ops> KernelBuild::MakeOps(int num_threads) const {
  return std::make_unique<CpuOps>(instruction_set, *mat_mul, num_threads);
}

std::vector<KernelBuild> KernelBuilds() {
  std::vector<KernelBuild> builds;
  for (InstructionSet supported : SupportedInstructionSets()) {
    std::string name(NameOf(supported));
    std::ranges::replace(name, '-', '_');
    builds.push_back({name, supported, &MatMulKernelsFor(supported)});
  }
#if defined(__x86_64__)
  const auto has = [&](InstructionSet wanted) {
    return std::ranges::any_of(builds, [=](const KernelBuild& build) { return build.instruction_set == wanted; });
  };
  if (has(InstructionSet::kAvx512Vnni)) {
    builds.push_back({"avx2_vnni_emulated", InstructionSet::kAvx2, &kEmulatedAvx2VnniMatMulKernels});
    builds.push_back({"amx_emulated", InstructionSet::kAvx512Vnni, &kEmulatedAmxMatMulKernels});
  }
#endif
  return builds;
}

std::optional<KernelBuild> FindKernelBuild(const std::string& name) {
  for (KernelBuild& build : KernelBuilds()) {
    if (build.name == name) return std::move(build);
  }
  return std::nullopt;
}

void PrintTo(const KernelBuild& build, std::ostream* out) { *out << build.name; }

}  // namespace quire
