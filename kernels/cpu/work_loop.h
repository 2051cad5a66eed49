// WorkLoop: a loop over independent indices on the workers of a pool, of which a slow one keeps nobody waiting.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/cpu/work_shares.h"
#include "kernels/cpu/worker_pool.h"

namespace quire {

// Threads: as WorkerPool.
class WorkLoop {
 public:
  // `pool` outlives this object.
  explicit WorkLoop(WorkerPool& pool) : pool_(pool), shares_(pool.size()) {}

  // Calls fn(index, worker) once for every index in [0, count), several at the same time on different workers.
  void Run(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn);

 private:
  WorkerPool& pool_;
  WorkShares shares_;
};

}  // namespace quire
