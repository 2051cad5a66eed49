// CudaOps: Ops on an NVIDIA GPU of compute capability 8.0 or later. All calls go to one stream, in order, but
// for transfers of pages, which have their own. Layers of steps that have a recording go there as CUDA graphs, from the
// second such step of a size on: kernels/cuda/step_graphs.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cpu/work_loop.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/packed_matrix.h"
#include "kernels/cuda/page_transfers.h"
#include "kernels/cuda/sample_plan.h"
#include "kernels/cuda/step_block.h"
#include "kernels/cuda/step_graphs.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/upload_arena.h"
#include "kernels/ops.h"

struct CUevent_st;

namespace quire {

// Since the start.
struct CudaStepCounts {
  int64_t steps = 0;
  int64_t graph_launches = 0;  // Steps whose layers were one launch.
  int64_t graphs_recorded = 0;

  friend CudaStepCounts operator-(const CudaStepCounts& a, const CudaStepCounts& b) {
    return {a.steps - b.steps, a.graph_launches - b.graph_launches, a.graphs_recorded - b.graphs_recorded};
  }
};

class CudaOps : public Ops {
 public:
  // The first device. UNAVAILABLE when there is none that can be used, INVALID_ARGUMENT when it is too old.
  static absl::StatusOr<std::unique_ptr<CudaOps>> Create(CudaOptions options = {});
  ~CudaOps() override;

  std::string Description() const override { return description_; }

  bool can_pack(WeightPrecision) const override { return true; }
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::span<const RawMatrix> parts,
                                                     WeightPrecision precision) override;
  absl::StatusOr<std::unique_ptr<PackedMatrix>> PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                          WeightPrecision precision) override;
  absl::StatusOr<std::unique_ptr<KvCache>> AllocateKvCache(const KvLayout& layout) override;
  std::optional<int64_t> FreeDeviceMemory() const override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t floats) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) override;

  std::unique_ptr<StepRecording> NewRecording() override { return std::make_unique<StepGraphs>(); }
  void RunStep(const StepArgs& step, absl::FunctionRef<void(int num_rows)> layers) override;
  void Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) override;
  void MatMul(const MatMulArgs& args) override;
  void RopeAppend(const RopeAppendArgs& args) override;
  void Attention(const AttentionArgs& args) override;
  void GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) override;
  void CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) override;
  absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(const KvLayout& layout, int num_pages) override;
  absl::StatusOr<uint64_t> StartToHost(const KvCache& kv_cache, std::span<const PageTransfer> pages,
                                       HostPages& host) override;
  absl::StatusOr<uint64_t> StartFromHost(KvCache& kv_cache, std::span<const PageTransfer> pages,
                                         const HostPages& host) override;
  absl::StatusOr<uint64_t> TransfersDone(uint64_t wait_for = 0) override { return transfers_->Done(wait_for); }
  MatrixView<const float> ToHost(MatrixView<const float> matrix) override;
  bool can_sample() const override { return true; }
  std::span<const SampledRow> Sample(MatrixView<const float> logits, int num_rows,
                                     absl::FunctionRef<SampleRow(int index)> row) override;
  absl::Status Synchronize() override;
  bool can_queue_steps() const override { return true; }
  void EndStep() override;
  absl::Status AwaitStep() override;
  int num_host_workers() const override { return pool_.size(); }
  void ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) override;

  const CudaStepCounts& step_counts() const { return step_counts_; }

 private:
  // The arrays of a step's batch on the device, with room for the padding behind the batch's tokens.
  struct StepArrays {
    int num_rows = 0;
    const int32_t* positions = nullptr;
    const int32_t* rotary_positions = nullptr;
    const int32_t* slot_mapping = nullptr;
    const int32_t* block_indices = nullptr;
  };
  // What a step's copies between host and device use on the host, and how it ended. Two in turns, since one step is put
  // on its way while another is at work; on the device there is but one of everything, used by one step after another.
  struct Exchange {
    explicit Exchange(CudaStream stream) : arena(stream) {}

    UploadArena arena;
    std::vector<PinnedMemory> sampled;  // One for each call of Sample in the step, or more.
    size_t num_sample_calls = 0;
    int num_chosen = 0;                 // Rows of all these calls.
    CUevent_st* done = nullptr;         // Recorded behind the step, if that did not fail.
    bool is_marked = false;
    absl::Status status;                // Of the step's calls, once EndStep has ended it.

    // Once the step has been waited for.
    void Reset() {
      arena.Reset();
      num_sample_calls = 0;
    }
  };

  CudaOps(CudaOptions options, CudaStream stream);

  absl::StatusOr<std::unique_ptr<PackedMatrix>> PackParts(std::span<const RawMatrix> parts, bool gated,
                                                          WeightPrecision precision);
  // Keeps the first error until Synchronize or EndStep takes it. What comes after it computes nothing, or nonsense that
  // is never read. True where there is none.
  bool Note(const absl::Status& status);
  // Of launches, which leave theirs with the runtime.
  void NoteLaunches(const char* what);
  // The array on the device; nullptr after an error.
  template <typename T>
  const T* ToDevice(std::span<const T> values);
  // Makes it at least `bytes`; false when they cannot be had, or after an error.
  template <typename Memory>
  bool Grow(size_t bytes, const char* what, Memory& memory);
  // The same for memory that graphs refer to: when it moves, they are of no use any more.
  bool GrowForGraphs(size_t bytes, const char* what, DeviceMemory& memory);
  // Of the step that is being put on its way.
  Exchange& exchange();
  // Takes the error since it was last taken; that of a lost device stays for all that comes.
  absl::Status TakeStatus();
  // Room for so many tokens in chosen_, which keeps what it has. False after an error.
  bool GrowChosen(int num_tokens);

  // Of a step: in cuda_ops_step.cc.
  const int32_t* CopyToBlock(int64_t num_words, absl::FunctionRef<void(std::span<int32_t>)> write, StepBlock& block);
  void CopyArrays(int num_rows);
  LayerPlan& PlanFor(const CudaAttentionPlan::Shape& shape, int head_dim);
  // Makes it the plan of this step; false after an error.
  bool Prepare(LayerPlan& planned);
  void RunWithGraphs(absl::FunctionRef<void(int num_rows)> layers);
  // Launches the graph of the step's layers, which it records first where there is none. Where that fails, nothing of
  // the layers has been launched.
  absl::Status LaunchGraph(StepGraphs::Entry& entry, absl::FunctionRef<void(int num_rows)> layers);
  void GiveUpGraphs(const absl::Status& reason);

  const CudaOptions options_;
  const CudaStream stream_;
  std::string description_;
  int num_multiprocessors_ = 0;
  WorkerPool pool_;  // For what the host does: packing and sampling.
  WorkLoop work_loop_;
  WeightStaging staging_;
  std::unique_ptr<PageTransfers> transfers_;

  absl::Status status_;  // Of the step at hand, or for ever where the device is lost.
  MatMulScratch mat_mul_scratch_;
  CudaStepCounts step_counts_;

  // The step at hand.
  uint64_t step_ = 0;
  PagedBatchView batch_;
  int max_rows_ = 0;
  StepArrays arrays_;
  StepBlock arrays_block_;
  std::vector<std::unique_ptr<LayerPlan>> plans_;  // Of all steps so far.
  StepGraphs* graphs_ = nullptr;  // Where the step is one for graphs; then its rows are padded and its plans roomy.
  std::vector<CudaAttentionRoom> rooms_;  // Of the plans of graphs_.
  bool gave_up_graphs_ = false;
  bool is_recording_ = false;  // Nothing is to be allocated, copied or waited for.
  uint64_t num_moves_ = 0;     // Of memory that graphs refer to.
  DeviceMemory rotations_;
  const float* rotated_frequencies_ = nullptr;  // Whose rotations of this step there are.
  DeviceMemory partials_;
  SamplePlan sample_plan_;
  DeviceMemory sample_memory_;  // Sampled rows, then scratch.
  DeviceMemory chosen_;         // The step's tokens, until the next step, whose embedding reads them, chooses others.
  PinnedMemory host_matrix_;
  std::array<Exchange, kMostQueuedSteps> exchanges_;
  int current_ = 0;    // Of exchanges_.
  int num_ended_ = 0;  // Steps that have not been awaited.
};

// Whether there is a device that CudaOps::Create would try.
bool HasCudaDevice();
absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps(CudaOptions options = {});

}  // namespace quire
