#include "tests/block_manager/page_model.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "block_manager/planted_bug.h"

namespace quire {
namespace {

constexpr uint64_t kNumSeeds = 200;
constexpr int kNumSteps = 200;

#if QUIRE_PLANT_BUG == 0
TEST(PageModel, PagesHoldWhatTheirSequencesRelyOnInRandomHistories) {
  for (uint64_t seed = 0; seed < kNumSeeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ASSERT_EQ(RunRandomHistory(seed, kNumSteps), "");
  }
}
#else
// By a wrong page or by an invariant, whichever comes first.
TEST(PageModel, NoticesThePlantedBugInRandomHistories) {
  const auto run = [] {
    for (uint64_t seed = 0; seed < kNumSeeds; ++seed) {
      const std::string fault = RunRandomHistory(seed, kNumSteps);
      if (fault.empty()) continue;
      std::fprintf(stderr, "seed %d: %s\n", static_cast<int>(seed), fault.c_str());
      std::abort();
    }
  };
  EXPECT_DEATH(run(), "check failed|seed");
}
#endif

}  // namespace
}  // namespace quire
