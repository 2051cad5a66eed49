#include "kernels/cpu/cpu_features.h"

namespace quire {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512Vnni,
                                   InstructionSet::kAvx512Bf16};

#if defined(__x86_64__)
bool SupportsF16c() {
#if defined(__clang__)
  return true;  // clang 14 cannot be asked; no processor has AVX2 without it.
#else
  return __builtin_cpu_supports("f16c");
#endif
}
#endif

// The builtin also asks whether the operating system saves the wide registers.
bool Supports(InstructionSet instruction_set) {
#if defined(__x86_64__)
  switch (instruction_set) {
    case InstructionSet::kPortable:
      return true;
    case InstructionSet::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && SupportsF16c();
    case InstructionSet::kAvx512Vnni:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
    case InstructionSet::kAvx512Bf16:
      return __builtin_cpu_supports("avx512bf16");
  }
#endif
  return instruction_set == InstructionSet::kPortable;
}

}  // namespace

std::string_view NameOf(InstructionSet instruction_set) {
  switch (instruction_set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512Vnni:
      return "avx512-vnni";
    case InstructionSet::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "?";
}

std::optional<InstructionSet> ParseInstructionSet(std::string_view name) {
  for (InstructionSet instruction_set : kAll) {
    if (NameOf(instruction_set) == name) return instruction_set;
  }
  return std::nullopt;
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> supported;
  for (InstructionSet instruction_set : kAll) {
    if (!Supports(instruction_set)) break;
    supported.push_back(instruction_set);
  }
  return supported;
}

}  // namespace quire
