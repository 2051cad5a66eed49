// WorkerPool: a fixed set of threads that run one function together, for kernels that take tens of microseconds. A step
// of a model makes hundreds of such calls, so handing out work must cost well under a microsecond, and nothing when
// idle: waiters spin for some tens of microseconds and then sleep.
//
// Threads: one thread at a time calls Run; it takes part as worker 0. Not reentrant.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace quire {

// The processors that this process may run on (its affinity mask), ascending; at least one.
std::vector<int> AllowedProcessors();

// How many workers use what this process may use: the allowed processors, or fewer where a container's quota of
// processor time is smaller, since workers that spin on each other must all run at once.
int DefaultWorkerCount();
// How many processors a cgroup v2 `cpu.max` ("quota period", or "max period") is worth, rounded up; `processors` where
// it sets no limit below that or is not understood.
int ProcessorsInQuota(const std::string& cpu_max, int processors);

class WorkerPool {
 public:
  // Starts size - 1 threads. With as many workers as allowed processors, the threads are pinned to all of these but the
  // first, which is left to worker 0; with fewer, where they run is the kernel's to choose, since other processes may
  // be choosing too; with more, nobody spins. REQUIRES: size >= 1.
  explicit WorkerPool(int size);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return size_; }

  // Calls fn(worker) for every worker in [0, size) at the same time and returns when all are done. What the caller
  // wrote before is visible to fn, and what fn wrote is visible afterwards.
  void Run(absl::FunctionRef<void(int worker)> fn);

  // Inside Run: returns when every worker has called it. What was written before is visible to all after.
  void Barrier();

 private:
  void WorkerLoop(int worker);
  // Returns once `value` is no longer `old`: spins a while, then sleeps.
  void WaitWhileEqual(const std::atomic<uint32_t>& value, uint32_t old) const;

  const int size_;
  const bool spin_;
  const absl::FunctionRef<void(int)>* job_ = nullptr;  // Published by epoch_.
  bool stopping_ = false;                              // Published by epoch_.
  // Each on a line of its own: the spinning readers of one must not slow down the writers of another.
  alignas(64) std::atomic<uint32_t> epoch_{0};       // Counts Run calls.
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // Threads still in the current Run.
  alignas(64) std::atomic<uint32_t> arrived_{0};     // Workers waiting in Barrier.
  alignas(64) std::atomic<uint32_t> generation_{0};  // Counts barriers passed.
  std::vector<std::thread> threads_;
};

}  // namespace quire
