// Paged attention: carries out an AttentionPlan for one layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

// The kernels that this machine can run, the best last, going no higher than an instruction set that it has.
std::vector<const AttentionKernels*> AttentionKernelsFor(InstructionSet instruction_set);

// Ops::Attention on a CpuKvCache. A tile, some consecutive query tokens of one sequence with all query heads of one KV
// head's group, passes over its context in chunks of kAttentionChunkTokens, so that each load of K and V serves many
// rows. Tiles of sequences that have a chunk on the same pages pass over it together: its K and V are read once for all
// of them. Workers take pieces of work from a common counter; chunks that several pieces compute are merged afterwards
// in the order that one piece merges them in. So neither tiles nor workers show in the result.
//
// Keeps scratch memory for the largest call so far.
class PagedAttention {
 public:
  explicit PagedAttention(const AttentionKernels& kernels) : kernels_(kernels) {}
  explicit PagedAttention(InstructionSet instruction_set)
      : PagedAttention(*AttentionKernelsFor(instruction_set).back()) {}

  void Run(const AttentionArgs& args, WorkerPool& pool);

 private:
  // The states of some rows, and the memory that their `weighted` point to.
  struct States {
    std::vector<AttentionState> rows;
    std::vector<float> weighted;
    int stride = 0;
    void Resize(int64_t num_rows, int head_dim);
  };
  // Of one worker.
  struct Scratch {
    std::vector<std::byte> queries;  // Prepared, of the rows of a piece of work.
    States chunk;                    // Of the chunk at hand,
    States total;                    // and of all up to it.
  };
  struct Call;  // The arguments, with what is derived from them.

  void Attend(const Call& call, const AttentionWork& work, Scratch& scratch);
  void PrepareQueries(const Call& call, const AttentionWork& work, Scratch& scratch) const;
  KvChunk LocateChunk(const Call& call, const AttentionWork& work, int chunk) const;
  void AttendChunk(const Call& call, const AttentionWork& work, int chunk, Scratch& scratch);
  void Accumulate(const AttentionTile& tile, int head_dim, int chunk, const AttentionState* states,
                  AttentionState* total) const;
  void Finish(const Call& call, const AttentionTile& tile, int kv_head, const AttentionState* total) const;
  void MergePartials(const Call& call, const AttentionTile& tile, int kv_head, Scratch& scratch);

  const AttentionKernels& kernels_;
  AttentionPlan plan_;
  std::vector<Scratch> scratch_;
  States partials_;  // [cut tiles][kv_head][chunk][row]
};

}  // namespace quire
