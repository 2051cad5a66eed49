// Linked with a block manager that has a bug planted (block_manager/planted_bug.h): the simulator must notice it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/simulation.h"

namespace quire {
namespace {

// Ends the process as a failing simulation does: by an invariant that aborts, or with a report.
void SimulateManySeeds() {
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const std::string failure = Simulate(seed).failure;
    if (failure.empty()) continue;
    std::fprintf(stderr, "the simulator reports: %s\n", failure.c_str());
    std::abort();
  }
}

TEST(SimulatorDeathTest, NoticesThePlantedBug) {
  EXPECT_DEATH(SimulateManySeeds(), "the simulator reports|check failed");
}

}  // namespace
}  // namespace quire
