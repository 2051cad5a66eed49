// StepGraphs: what CudaOps has recorded of one decoder's steps. A graph has fixed numbers of blocks and fixed
// addresses, so it is made for a number of rows and of a plan's items that many steps fit into.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/device_graph.h"
#include "kernels/cuda/step_block.h"
#include "kernels/ops.h"

namespace quire {

// The attention plan that layers of one kind share in a step.
struct LayerPlan {
  CudaAttentionPlan::Shape shape;
  int head_dim = 0;
  CudaAttentionPlan plan;
  StepBlock block;
  CudaAttentionPlanView view;
  uint64_t step = 0;  // Whose plan it is.
};

// For how many rows the step's layers are to be recorded: its tokens, or somewhat more, but at most max_rows. 0: they
// are not. Recorded are steps of up to kMostGraphRows sequences that have one token each; in others the kernels run for
// so long that launches are hidden behind them, and no two steps are alike.
inline constexpr int kMostGraphRows = 512;
int RowsOfGraph(const PagedBatchView& batch, int max_rows);

// The room for plans of a step of that many rows. What is not needed at all gets none: launches are left out for it.
CudaAttentionRoom RoomOfGraph(const CudaAttentionRoom& needed, int num_rows);

// Not thread-safe. Allocates nothing for steps that it has met.
class StepGraphs : public StepRecording {
 public:
  static constexpr size_t kMostGraphs = 64;

  struct Entry {
    int num_rows = 0;
    std::vector<CudaAttentionRoom> rooms;  // Of each of the plans.
    DeviceGraph graph;                     // None while it has been met but once.
    uint64_t num_moves = 0;                // CudaOps's, when the graph was recorded.
    uint64_t last_use = 0;
  };

  // nullptr: no step of this kind has been met. Valid until the next Add or Clear.
  Entry* Find(int num_rows, std::span<const CudaAttentionRoom> rooms);
  // Adds one without a graph. If there are kMostGraphs, the one that has not been used for the longest time goes.
  void Add(int num_rows, std::span<const CudaAttentionRoom> rooms);
  void Clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }

  // What the recorded layers attend by; CudaOps's.
  std::vector<LayerPlan*> plans;

 private:
  std::vector<Entry> entries_;
  uint64_t clock_ = 0;
};

}  // namespace quire
