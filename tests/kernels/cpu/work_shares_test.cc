#include "kernels/cpu/work_shares.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "kernels/cpu/worker_pool.h"

namespace quire {
namespace {

TEST(WorkShares, HandsOutItsOwnShareInOrderAndThenTheEndsOfOthers) {
  WorkShares shares(2);
  shares.Reset(6);
  std::vector<int64_t> units;
  for (int64_t unit; (unit = shares.Next(0)) >= 0;) units.push_back(unit);
  EXPECT_EQ(units, (std::vector<int64_t>{0, 1, 2, 5, 4, 3}));
  EXPECT_EQ(shares.Next(1), -1);
}

TEST(WorkShares, ServesWorkersThatHaveNoShareOfTheirOwn) {
  WorkShares shares(4);
  shares.Reset(1);
  EXPECT_EQ(shares.Next(2), 0);
  EXPECT_EQ(shares.Next(3), -1);
  shares.Reset(0);
  EXPECT_EQ(shares.Next(0), -1);
}

TEST(WorkShares, GivesEveryUnitToExactlyOneOfSeveralWorkers) {
  constexpr int kWorkers = 4;
  constexpr int kUnits = 1000;
  WorkerPool pool(kWorkers);
  WorkShares shares(kWorkers);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::atomic<int>> given(kUnits);
    shares.Reset(kUnits);
    pool.Run([&](int worker) {
      for (int64_t unit; (unit = shares.Next(worker)) >= 0;) given[unit].fetch_add(1, std::memory_order_relaxed);
    });
    for (int unit = 0; unit < kUnits; ++unit) ASSERT_EQ(given[unit], 1) << "unit " << unit;
  }
}

}  // namespace
}  // namespace quire
