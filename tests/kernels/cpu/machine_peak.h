// What this machine can do at most: how fast it reads memory, how fast it multiplies int8. Benchmarks of kernels report
// themselves as a share of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace quire {

// Reads all of it, and gives a number that depends on every word.
uint64_t ReadAll(std::span<const uint64_t> words);

// A loop of nothing but int8 dot products, all operands in registers.
struct DotProductLoop {
  std::string instruction_set;     // By its name in NameOf(InstructionSet).
  int64_t multiply_adds_per_turn;  // Of int8, in one thread.
  std::function<void(int64_t turns)> run;
};

// Those that can run here; none on processors that we have no such loop for.
const std::vector<DotProductLoop>& DotProductLoops();

// Bytes a second that all processors together read of 96 MB, and int8 multiply-adds a second that they do with an
// instruction set (0 where there is no such loop). The best of several short measurements at the first call.
double PeakReadRate();
double PeakDotProductRate(const std::string& instruction_set);

}  // namespace quire
