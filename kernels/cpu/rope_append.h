// RoPE, QK-norm and the append to the KV cache, for one layer of a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

// Ops::RopeAppend on a CpuKvCache. Remembers the rotations of the last step's positions, since all layers of a step
// share them: cosines and sines, computed in double (exact to float at any position), cost once a step.
class RopeAppender {
 public:
  void Run(const RopeAppendArgs& args, WorkerPool& pool);

 private:
  // The rotations of token t: cosines, then sines, one for each frequency.
  std::span<float> Rotations(int64_t token);
  void ComputeRotations(int64_t begin, int64_t end);

  std::vector<int32_t> positions_;
  std::vector<float> inverse_frequencies_;
  std::vector<float> rotations_;
};

}  // namespace quire
