// Which instructions this machine's processor and operating system offer. Kernels come in one build for each
// InstructionSet, in files named *_avx2.cc and *_avx512.cc that alone are compiled for it; the choice is made once, at
// start.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace quire {

// Ascending: a machine that has one has all before it.
enum class InstructionSet {
  kPortable,    // what the compiler's baseline guarantees
  kAvx2,        // AVX2, FMA, F16C
  kAvx512Vnni,  // the above, AVX-512 F BW DQ VL, and its VNNI
  kAvx512Bf16,  // the above, and AVX-512 BF16
};

std::string_view NameOf(InstructionSet instruction_set);  // "portable", "avx2", "avx512-vnni", "avx512-bf16"
std::optional<InstructionSet> ParseInstructionSet(std::string_view name);

// Those that can run here, kPortable first, the best last.
std::vector<InstructionSet> SupportedInstructionSets();

}  // namespace quire
