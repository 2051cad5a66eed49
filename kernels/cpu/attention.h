// Paged attention: who attends to what, on which worker, in which order.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

// The kernels that this machine can run, the best last, going no higher than an instruction set that it has.
std::vector<const AttentionKernels*> AttentionKernelsFor(InstructionSet instruction_set);

// Ops::Attention on a CpuKvCache. A tile, some consecutive query tokens of one sequence with all query heads of one KV
// head's group, passes over its context in chunks of kAttentionChunkTokens, so that each load of K and V serves many
// rows. Workers take tiles from a common counter; a tile that is a large part of the whole step is cut into its chunks,
// which are merged afterwards in the order that a whole tile merges them in. So neither tiles nor workers show in the
// result.
//
// Keeps scratch memory for the largest call so far.
class PagedAttention {
 public:
  explicit PagedAttention(const AttentionKernels& kernels) : kernels_(kernels) {}
  explicit PagedAttention(InstructionSet instruction_set)
      : PagedAttention(*AttentionKernelsFor(instruction_set).back()) {}

  void Run(const AttentionArgs& args, WorkerPool& pool);

 private:
  // Query tokens [begin_token, end_token) of a sequence, and the chunks of its context that some of them see.
  struct Tile {
    int sequence;
    int begin_token;
    int end_token;
    int begin_chunk;
    int end_chunk;
    int64_t first_partial;  // In partials_, where the tile is cut into chunks; otherwise -1.
  };
  // What a worker takes at a time: some chunks of a tile, for one KV head.
  struct Work {
    int tile;
    int kv_head;
    int begin_chunk;
    int end_chunk;
  };
  // The states of some rows, and the memory that their `weighted` point to.
  struct States {
    std::vector<AttentionState> rows;
    std::vector<float> weighted;
    void Resize(int64_t num_rows, int head_dim);
  };
  // Of one worker.
  struct Scratch {
    std::vector<float> queries;  // [rows of a tile, head_dim]
    States chunk;                // Of the chunk at hand,
    States total;                // and of all up to it.
  };
  struct Call;  // The arguments, with what is derived from them.

  void PlanTiles(const Call& call);
  void PlanWork(const Call& call, int num_workers);
  void Attend(const Call& call, const Work& work, Scratch& scratch);
  KvChunk LocateChunk(const Call& call, const Work& work, int chunk) const;
  void AttendChunk(const Call& call, const Work& work, int chunk, Scratch& scratch, AttentionState* states) const;
  void Accumulate(const Call& call, const Tile& tile, int chunk, const AttentionState* states,
                  AttentionState* total) const;
  void Finish(const Call& call, const Tile& tile, int kv_head, const AttentionState* total) const;
  void MergePartials(const Call& call, const Tile& tile, int kv_head, Scratch& scratch);
  AttentionState* Partials(const Call& call, const Tile& tile, int kv_head, int chunk);

  const AttentionKernels& kernels_;
  std::vector<Tile> tiles_;
  std::vector<int> cut_tiles_;
  std::vector<Work> work_;
  std::vector<Scratch> scratch_;
  States partials_;  // [cut tiles][kv_head][chunk][row]
};

}  // namespace quire
