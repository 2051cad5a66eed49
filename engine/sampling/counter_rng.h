// Random numbers without a state: a draw is a function of its key, so that a stream of tokens does not depend on who
// shares its batch, on preemption or on how many draws others made.
#pragma once

#include <array>
#include <cstdint>

namespace quire {

// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The draw for `position` of the stream `seed`: uniform in the open interval (0, 1), 52 random bits.
double UniformAt(uint64_t seed, uint64_t position);

}  // namespace quire
