#include "tests/kernels/cpu/machine_peak.h"

#include <gtest/gtest.h>

#include <numeric>

namespace quire {
namespace {

TEST(MachinePeak, ReadsEveryWord) {
  for (const size_t size : {0, 1, 31, 32, 33, 100}) {
    std::vector<uint64_t> words(size);
    std::iota(words.begin(), words.end(), uint64_t{1} << 40);
    EXPECT_EQ(ReadAll(words), std::accumulate(words.begin(), words.end(), uint64_t{0})) << size;
  }
}

TEST(MachinePeak, CountsTheWorkOfALoop) {
  for (const DotProductLoop& loop : DotProductLoops()) {
    EXPECT_GT(loop.multiply_adds_per_turn, 0) << loop.instruction_set;
    loop.run(3);
  }
}

}  // namespace
}  // namespace quire
