#include "engine/sampling/counter_rng.h"

namespace quire {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr std::array<uint32_t, 2> kKeyStep = {0x9E3779B9, 0xBB67AE85};  // Golden ratio and sqrt(3) - 1.
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kKeyStep[0];
    key[1] += kKeyStep[1];
  }
  return counter;
}

double UniformAt(uint64_t seed, uint64_t position) {
  const auto words = Philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
                                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (uint64_t{words[1]} << 32 | words[0]) >> 12;
  // Half a step up keeps 0 out, and 52 bits rather than 53 keep the largest value from rounding to 1.
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

}  // namespace quire
