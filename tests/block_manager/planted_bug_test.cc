// Linked with a block manager that has a bug planted (block_manager/planted_bug.h): the model must notice it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/block_manager/page_model.h"

namespace quire {
namespace {

// Ends the process by a wrong page or by an invariant, whichever comes first.
void RunManyHistories() {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string fault = RunRandomHistory(seed, /*num_steps=*/200);
    if (fault.empty()) continue;
    std::fprintf(stderr, "seed %d: %s\n", static_cast<int>(seed), fault.c_str());
    std::abort();
  }
}

TEST(PageModelDeathTest, NoticesThePlantedBugInRandomHistories) {
  EXPECT_DEATH(RunManyHistories(), "check failed|seed");
}

}  // namespace
}  // namespace quire
