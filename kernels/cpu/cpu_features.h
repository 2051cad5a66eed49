// Which instructions this machine's processor and operating system offer. Kernels come in one build for each
// InstructionSet, in files named for it (kernels/CMakeLists.txt) that alone are compiled for it; the choice is made
// once, at start.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quire {

// Slowest first: of those that a machine has, the last is the best. Each includes kPortable, and all above kPortable
// include kAvx2, but not every one includes all before it: processors have AVX-VNNI without AVX-512 and the reverse.
enum class InstructionSet {
  kPortable,    // what the compiler's baseline guarantees
  kAvx2,        // AVX2, FMA, F16C
  kAvx2Vnni,    // kAvx2, and AVX-VNNI
  kAvx512Vnni,  // kAvx2, AVX-512 F BW DQ VL, and its VNNI
  kAvx512Bf16,  // kAvx512Vnni, and AVX-512 BF16
  kAmx,         // kAvx512Bf16, AMX-TILE and AMX-INT8
};

// "portable", "avx2", "avx2-vnni", "avx512-vnni", "avx512-bf16", "amx".
std::string_view NameOf(InstructionSet instruction_set);
std::optional<InstructionSet> ParseInstructionSet(std::string_view name);

// All names, for messages: "portable, avx2, avx2-vnni, avx512-vnni, avx512-bf16 or amx".
std::string InstructionSetNames();

// Those that can run here, kPortable first, the best last. The first call asks the operating system for the tile
// registers of AMX, which a process has to do before its threads may use them.
std::vector<InstructionSet> SupportedInstructionSets();

}  // namespace quire
