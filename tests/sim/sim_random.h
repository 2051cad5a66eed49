// The only source of chance in a simulation: everything is drawn from one seed, the same on every machine.
#pragma once

#include <cstdint>

#include "engine/types/sequence.h"
#include "kernels/check.h"

namespace quire {

class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : seed_(seed) {}

  uint64_t Bits() { return SampleSeed(seed_, ++num_drawn_); }
  // Uniform in [low, high].
  int Between(int low, int high) {
    QUIRE_CHECK(low <= high);
    return low + static_cast<int>(Bits() % static_cast<uint64_t>(high - low + 1));
  }
  // Uniform in the logarithm, so that every order of magnitude has its turn.
  int LogBetween(int low, int high) {
    int top = low;
    while (top < high && Chance(70)) top = top * 2 < high ? top * 2 : high;
    return Between(low, top);
  }
  bool Chance(int percent) { return Between(0, 99) < percent; }

 private:
  uint64_t seed_;
  int num_drawn_ = 0;
};

}  // namespace quire
