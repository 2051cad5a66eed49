#include "tests/block_manager/page_model.h"

#include <gtest/gtest.h>

namespace quire {
namespace {

constexpr uint64_t kNumSeeds = 200;
constexpr int kNumSteps = 200;

TEST(PageModel, PagesHoldWhatTheirSequencesRelyOnInRandomHistories) {
  for (uint64_t seed = 0; seed < kNumSeeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ASSERT_EQ(RunRandomHistory(seed, kNumSteps), "");
  }
}

}  // namespace
}  // namespace quire
