#include "kernels/cpu/cpu_features.h"

#include <cstdint>
#include <iterator>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace quire {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx2Vnni,
                                   InstructionSet::kAvx512Vnni, InstructionSet::kAvx512Bf16, InstructionSet::kAmx};

#if defined(__x86_64__)

// Registers of CPUID leaf 7, which compilers' builtins know only in part.
struct Leaf7 {
  explicit Leaf7(unsigned subleaf) { __get_cpuid_count(7, subleaf, &eax, &ebx, &ecx, &edx); }
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

constexpr bool HasBit(unsigned value, int bit) { return (value >> bit & 1) != 0; }

// What state the operating system saves. REQUIRES: the processor has AVX.
uint64_t SavedState() {
  uint32_t low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Whether the operating system lets this process use the tile registers: 8 KiB for each thread, which Linux sets aside
// only when asked. Asked for once.
bool MayUseTiles() {
#if defined(__linux__)
  constexpr int kArchReqXcompPerm = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

bool SupportsTiles() {
  constexpr uint64_t kTileState = uint64_t{3} << 17;  // Configuration and data.
  const unsigned features = Leaf7(0).edx;
  const bool has_tiles = HasBit(features, 24), has_int8 = HasBit(features, 25);
  return has_tiles && has_int8 && (SavedState() & kTileState) == kTileState && MayUseTiles();
}

bool SupportsF16c() {
#if defined(__clang__)
  return true;  // clang 14 cannot be asked; no processor has AVX2 without it.
#else
  return __builtin_cpu_supports("f16c");
#endif
}

// The builtin also asks whether the operating system saves the wide registers.
bool Supports(InstructionSet instruction_set) {
  switch (instruction_set) {
    case InstructionSet::kPortable:
      return true;
    case InstructionSet::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && SupportsF16c();
    case InstructionSet::kAvx2Vnni:
      return Supports(InstructionSet::kAvx2) && HasBit(Leaf7(0).eax, 0) && HasBit(Leaf7(1).eax, 4);
    case InstructionSet::kAvx512Vnni:
      return Supports(InstructionSet::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    case InstructionSet::kAvx512Bf16:
      return Supports(InstructionSet::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16");
    case InstructionSet::kAmx:
      return Supports(InstructionSet::kAvx512Bf16) && SupportsTiles();
  }
  return false;
}

#else

bool Supports(InstructionSet instruction_set) { return instruction_set == InstructionSet::kPortable; }

#endif

}  // namespace

std::string_view NameOf(InstructionSet instruction_set) {
  switch (instruction_set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx2Vnni:
      return "avx2-vnni";
    case InstructionSet::kAvx512Vnni:
      return "avx512-vnni";
    case InstructionSet::kAvx512Bf16:
      return "avx512-bf16";
    case InstructionSet::kAmx:
      return "amx";
  }
  return "?";
}

std::optional<InstructionSet> ParseInstructionSet(std::string_view name) {
  for (InstructionSet instruction_set : kAll) {
    if (NameOf(instruction_set) == name) return instruction_set;
  }
  return std::nullopt;
}

std::string InstructionSetNames() {
  std::string names;
  for (InstructionSet instruction_set : kAll) {
    if (!names.empty()) names += instruction_set == *std::rbegin(kAll) ? " or " : ", ";
    names += NameOf(instruction_set);
  }
  return names;
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> supported;
  for (InstructionSet instruction_set : kAll) {
    if (Supports(instruction_set)) supported.push_back(instruction_set);
  }
  return supported;
}

}  // namespace quire
