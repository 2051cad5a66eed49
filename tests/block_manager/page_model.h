// A naive model of what pages hold, to run random histories against the block manager. Each token's place in each page
// holds a digest of the salt and of all tokens up to it, as a KV cache would; whoever relies on a page compares all of
// it.
#pragma once

#include <cstdint>
#include <string>

namespace quire {

// One random history of `num_steps` steps on a small random pool, with BlockManager::CheckInvariants after each call.
// Returns what went wrong first, with the step and the configuration, or an empty string.
std::string RunRandomHistory(uint64_t seed, int num_steps);

}  // namespace quire
