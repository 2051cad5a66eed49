#include "kernels/cpu/worker_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>
#include <thread>

namespace quire {
namespace {

TEST(WorkerPool, RunsEveryWorkerOnceAndTheCallerAsWorkerZero) {
  for (int size : {1, 2, 3, 8}) {
    WorkerPool pool(size);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> calls(size, 0);
      std::vector<std::thread::id> ids(size);
      pool.Run([&](int worker) {
        ++calls[worker];
        ids[worker] = std::this_thread::get_id();
      });
      EXPECT_EQ(calls, std::vector<int>(size, 1));
      EXPECT_EQ(ids[0], std::this_thread::get_id());
      EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), ids.size());
    }
  }
}

// Each worker writes its cell, passes the barrier, and reads its neighbour's: plain memory, so a barrier that lets
// anyone through early fails here, and is a data race under TSan.
TEST(WorkerPool, BarrierSeparatesWhatIsWrittenFromWhatIsRead) {
  for (int size : {1, 2, 5}) {
    WorkerPool pool(size);
    std::vector<int> cells(size, 0);
    std::vector<int> wrong(size, 0);
    for (int round = 0; round < 50; ++round) {
      pool.Run([&](int worker) {
        for (int phase = 1; phase <= 20; ++phase) {
          cells[worker] = phase;
          pool.Barrier();
          if (cells[(worker + 1) % size] != phase) ++wrong[worker];
          pool.Barrier();
        }
      });
    }
    EXPECT_EQ(wrong, std::vector<int>(size, 0)) << size << " workers";
  }
}

TEST(WorkerPool, WakesUpAfterItHasFallenAsleep) {
  WorkerPool pool(3);
  int sum = 0;
  for (int round = 0; round < 10; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::vector<int> values(pool.size(), 0);
    pool.Run([&](int worker) {
      // Stragglers make the caller and the barrier sleep as well.
      if (worker == round % pool.size()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      pool.Barrier();
      values[worker] = worker + 1;
    });
    for (int value : values) sum += value;
  }
  EXPECT_EQ(sum, 10 * (1 + 2 + 3));
}

TEST(WorkerPool, IdleWorkersUseNoProcessorTime) {
  // The first pool has a processor for each worker and so spins before it sleeps; the second has not.
  const int processors = static_cast<int>(AllowedProcessors().size());
  WorkerPool spinning(processors), crowded(processors + 2);
  spinning.Run([](int) {});
  crowded.Run([](int) {});
  const auto processor_seconds = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
  };
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // One thread that spun all along would have used 0.3 s.
  EXPECT_LT(processor_seconds() - before, 0.1);
}

TEST(WorkerPool, KnowsTheProcessorsItMayUse) {
  const std::vector<int> processors = AllowedProcessors();
  ASSERT_FALSE(processors.empty());
  EXPECT_TRUE(std::is_sorted(processors.begin(), processors.end()));
}

TEST(WorkerPool, StaysWithinAContainersQuota) {
  EXPECT_EQ(ProcessorsInQuota("max 100000", 8), 8);
  EXPECT_EQ(ProcessorsInQuota("200000 100000", 8), 2);
  EXPECT_EQ(ProcessorsInQuota("150000 100000", 8), 2);
  EXPECT_EQ(ProcessorsInQuota("1000 100000", 8), 1);
  EXPECT_EQ(ProcessorsInQuota("9000000 100000", 8), 8);
  for (const char* not_understood : {"", "0 100000", "-1 100000", "100000", "100000 0", "nonsense"}) {
    EXPECT_EQ(ProcessorsInQuota(not_understood, 8), 8) << not_understood;
  }
  EXPECT_GE(DefaultWorkerCount(), 1);
}

}  // namespace
}  // namespace quire
