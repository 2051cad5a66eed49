// Ops::MatMul on the CPU: normalises and quantises the input rows, shares the panels of the weights among the workers,
// and applies the epilogue to each block of products while it is in the nearest cache.
#pragma once

#include <cstdint>

#include "kernels/cpu/aligned_memory.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

class MatMulRunner {
 public:
  explicit MatMulRunner(InstructionSet instruction_set);

  // REQUIRES: args.weights is a CpuPackedMatrix, gated if and only if the epilogue is kGate.
  void Run(const MatMulArgs& args, WorkerPool& pool);

 private:
  struct Plan;

  // Grows the scratch memory to what `plan` needs: never in steady state.
  void Reserve(const Plan& plan);
  // Normalises and quantises rows [begin, end) into the tiles from `first_tile` on.
  void PrepareRows(const Plan& plan, int worker, int64_t begin, int64_t end, int64_t first_tile);
  // Multiplies this worker's share of the panels.
  void MultiplyShare(const Plan& plan, int worker) const;
  void MultiplyPanel(const Plan& plan, const PackedPart& part, int64_t panel, int64_t first_channel, int64_t tile,
                     const ActivationTile& activations) const;
  void MultiplyGatedPanel(const Plan& plan, int64_t panel, int64_t tile, const ActivationTile& activations) const;

  ActivationGroup* TileGroups(const Plan& plan, int64_t tile) const;
  float* TileFloats(const Plan& plan, int64_t tile) const;
  float* RowBuffer(const Plan& plan, int worker) const;

  const MatMulKernels& kernels_;
  AlignedMemory scratch_;  // Tiles of activations, then a row of floats for each worker.
};

}  // namespace quire
