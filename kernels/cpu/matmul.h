// Ops::MatMul on the CPU: normalises and quantises the input rows, shares the panels of the weights among the workers,
// and applies the epilogue to each block of products while it is in the nearest cache.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/aligned_memory.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/work_shares.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

// REQUIRES: the machine supports instruction_set, if the kernels are to be called.
const MatMulKernels& MatMulKernelsFor(InstructionSet instruction_set);

class MatMulRunner {
 public:
  // Keeps a reference to `kernels`.
  MatMulRunner(const MatMulKernels& kernels, int num_workers) : kernels_(kernels), shares_(num_workers) {}

  // REQUIRES: args.weights is a CpuPackedMatrix, gated if and only if the epilogue is kGate.
  void Run(const MatMulArgs& args, WorkerPool& pool);

 private:
  struct Plan;

  // Grows the scratch memory to what `plan` needs: never in steady state.
  void Reserve(const Plan& plan);
  // What a worker reads of a chunk of rows.
  ActivationChunk Chunk(const Plan& plan, int worker, int64_t chunk) const;
  // Normalises the rows of a chunk and quantises one part of their columns.
  void PreparePart(const Plan& plan, int worker, int64_t chunk, int64_t part);
  // A row of the input, normalised if need be; valid until the worker's next call.
  const float* Input(const Plan& plan, int worker, int64_t row);
  // Multiplies one chunk of rows with one panel (a gate's and its up-projection's where gated).
  void MultiplyUnit(const Plan& plan, int worker, int64_t unit) const;
  void MultiplyPanel(const Plan& plan, const PackedPart& part, int64_t panel, int64_t first_channel, int64_t first_row,
                     const ActivationChunk& activations) const;
  void MultiplyGatedPanel(const Plan& plan, int64_t panel, int64_t first_row, const ActivationChunk& activations) const;
  void Multiply(const PackedPart& part, int64_t panel, int64_t cols, const ActivationChunk& activations,
                PanelProducts& products) const;

  const MatMulKernels& kernels_;
  WorkShares shares_;  // Of the call at hand.
  // Activations as the kernels read them, then for each worker what its kernels use and a row of floats.
  AlignedMemory scratch_;
};

}  // namespace quire
