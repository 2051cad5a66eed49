// CudaOps: a step's layers, by launches or by graphs.
#include <cuda_runtime.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/rope_append.h"

namespace quire {
namespace {

template <typename T>
const T* DataOrNull(std::span<const T> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

void CudaOps::RunStep(const StepArgs& step, absl::FunctionRef<void(int num_rows)> layers) {
  QUIRE_CHECK(arrays_.num_rows == 0);  // The step before it has been ended.
  QUIRE_CHECK(step.max_rows >= step.batch.num_tokens());
  ++step_;
  ++step_counts_.steps;
  batch_ = step.batch;
  max_rows_ = step.max_rows;
  rotated_frequencies_ = nullptr;
  const bool has_graphs = step.recording != nullptr && options_.record_steps && !gave_up_graphs_;
  const int num_graph_rows = has_graphs ? RowsOfGraph(batch_, max_rows_) : 0;
  if (num_graph_rows > 0) {
    graphs_ = static_cast<StepGraphs*>(step.recording);
    CopyArrays(num_graph_rows);
    RunWithGraphs(layers);
    graphs_ = nullptr;
  } else {
    CopyArrays(batch_.num_tokens());
    layers(batch_.num_tokens());
  }
}

const int32_t* CudaOps::CopyToBlock(int64_t num_words, absl::FunctionRef<void(std::span<int32_t>)> write,
                                    StepBlock& block) {
  QUIRE_CHECK(!is_recording_);
  if (!status_.ok()) return nullptr;
  if (!block.HasRoomFor(num_words)) {
    ++num_moves_;
    // The step before may be at work with it.
    if (!Note(ToStatus(cudaStreamSynchronize(stream_), "wait for the GPU"))) return nullptr;
    if (!Note(block.Reserve(num_words))) return nullptr;
  }
  write(block.host_words(num_words));
  return Note(block.Copy(num_words, stream_)) ? block.device_words() : nullptr;
}

// What is long comes last, so that the others' places depend on the number of rows alone.
void CudaOps::CopyArrays(int num_rows) {
  const auto num_pages = static_cast<int64_t>(batch_.block_indices.size());
  const int32_t* words = CopyToBlock(
      3 * int64_t{num_rows} + num_pages,
      [&](std::span<int32_t> host) {
        const auto copy = [&](std::span<const int32_t> array, int index, int32_t padding) {
          const auto rows = host.subspan(static_cast<size_t>(index) * num_rows, num_rows);
          std::ranges::fill(std::ranges::copy(array, rows.begin()).out, rows.end(), padding);
        };
        copy(batch_.positions, 0, 0);
        copy(batch_.RotaryPositions(), 1, 0);
        copy(batch_.slot_mapping, 2, -1);
        std::ranges::copy(batch_.block_indices, host.last(num_pages).begin());
      },
      arrays_block_);
  arrays_ = {.num_rows = num_rows};
  if (words == nullptr) return;
  arrays_.positions = words;
  arrays_.rotary_positions = words + num_rows;
  arrays_.slot_mapping = words + 2 * int64_t{num_rows};
  arrays_.block_indices = words + 3 * int64_t{num_rows};
}

// A step of a new size goes by launches, which allocate what it needs and load its kernels: neither can be done while a
// graph is recorded.
void CudaOps::RunWithGraphs(absl::FunctionRef<void(int num_rows)> layers) {
  rooms_.clear();
  for (LayerPlan* planned : graphs_->plans) {
    if (!Prepare(*planned)) return;
    rooms_.push_back(planned->view.room);
  }
  StepGraphs::Entry* const entry = graphs_->Find(arrays_.num_rows, rooms_);
  if (entry != nullptr) {
    const absl::Status status = LaunchGraph(*entry, layers);
    if (status.ok()) return;
    GiveUpGraphs(status);
  }
  layers(arrays_.num_rows);
  if (entry != nullptr || !status_.ok()) return;
  for (size_t i = rooms_.size(); i < graphs_->plans.size(); ++i) rooms_.push_back(graphs_->plans[i]->view.room);
  graphs_->Add(arrays_.num_rows, rooms_);
}

absl::Status CudaOps::LaunchGraph(StepGraphs::Entry& entry, absl::FunctionRef<void(int num_rows)> layers) {
  if (!entry.graph || entry.num_moves != num_moves_) {
    is_recording_ = true;
    absl::StatusOr<DeviceGraph> graph = DeviceGraph::Record(stream_, [&] { layers(arrays_.num_rows); });
    is_recording_ = false;
    rotated_frequencies_ = nullptr;              // They are in the graph only.
    if (!status_.ok()) return absl::OkStatus();  // A launch was refused, which ends the step.
    if (!graph.ok()) return graph.status();
    entry.graph = *std::move(graph);
    entry.num_moves = num_moves_;
    ++step_counts_.graphs_recorded;
  }
  absl::Status launched = entry.graph.Launch(stream_);
  if (launched.ok()) ++step_counts_.graph_launches;
  return launched;
}

void CudaOps::GiveUpGraphs(const absl::Status& reason) {
  if (absl::IsUnavailable(reason)) {  // There is no device to go on with.
    Note(reason);
    return;
  }
  gave_up_graphs_ = true;
  graphs_->Clear();
  if (!options_.warn) return;
  options_.warn(absl::StrCat("CUDA graphs are not used any more, steps are slower: ", std::string(reason.message())));
}

LayerPlan& CudaOps::PlanFor(const CudaAttentionPlan::Shape& shape, int head_dim) {
  auto found = std::ranges::find_if(
      plans_, [&](const auto& plan) { return plan->shape == shape && plan->head_dim == head_dim; });
  if (found == plans_.end()) {
    plans_.push_back(std::make_unique<LayerPlan>());
    found = std::prev(plans_.end());
    (*found)->shape = shape;
    (*found)->head_dim = head_dim;
  }
  LayerPlan* const planned = found->get();
  if (graphs_ != nullptr && std::ranges::find(graphs_->plans, planned) == graphs_->plans.end()) {
    QUIRE_CHECK(!is_recording_);
    graphs_->plans.push_back(planned);
  }
  return *planned;
}

bool CudaOps::Prepare(LayerPlan& planned) {
  if (planned.step == step_) return status_.ok();
  CudaAttentionPlan& plan = planned.plan;
  plan.Update(batch_, planned.shape);
  const CudaAttentionRoom needed = plan.NeededRoom();
  const CudaAttentionRoom room = graphs_ != nullptr ? RoomOfGraph(needed, arrays_.num_rows) : needed;
  const int32_t* words = CopyToBlock(
      room.num_words(), [&](std::span<int32_t> host) { plan.Write(room, host); }, planned.block);
  if (words == nullptr) return false;
  const int num_heads = planned.shape.num_kv_heads * planned.shape.group;
  const int64_t partial_floats = CudaAttentionPartialFloats(plan.num_partials(), num_heads, planned.head_dim);
  if (!GrowForGraphs(partial_floats * sizeof(float), "states of attention", partials_)) return false;
  planned.view = CudaAttentionPlan::ViewAt(words, room);
  planned.step = step_;
  return true;
}

void CudaOps::RopeAppend(const RopeAppendArgs& args) {
  const auto& cache = static_cast<const CudaKvCache&>(*args.kv_cache);
  const KvLayout& layout = cache.layout();
  const auto num_frequencies = static_cast<int>(args.rope.inverse_frequencies.size());
  QUIRE_CHECK(args.qkv.rows == arrays_.num_rows && args.batch.num_tokens() == batch_.num_tokens());
  QUIRE_CHECK(args.qkv.cols == (args.num_heads + 2 * layout.num_kv_heads) * layout.head_dim);
  QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
  QUIRE_CHECK(2 * num_frequencies <= layout.head_dim);
  const size_t rotations_bytes = size_t{2} * num_frequencies * max_rows_ * sizeof(float);
  if (!GrowForGraphs(rotations_bytes, "rotations", rotations_)) return;
  auto* rotations = reinterpret_cast<float*>(rotations_.data());
  const float* frequencies = DataOrNull(args.rope.inverse_frequencies);
  if (rotated_frequencies_ != frequencies) {
    ComputeCudaRotations(arrays_.rotary_positions, arrays_.num_rows, frequencies, num_frequencies, rotations,
                         stream_);
    rotated_frequencies_ = frequencies;
  }
  RopeAppendOnCuda({.qkv = args.qkv.data,
                    .qkv_stride = args.qkv.stride,
                    .num_tokens = arrays_.num_rows,
                    .num_heads = args.num_heads,
                    .query_norm = DataOrNull(args.query_norm.weight),
                    .query_epsilon = args.query_norm.epsilon,
                    .key_norm = DataOrNull(args.key_norm.weight),
                    .key_epsilon = args.key_norm.epsilon,
                    .rotates_halves = args.rope.kind == RopeKind::kHalves,
                    .rotations = rotations,
                    .num_frequencies = num_frequencies,
                    .slot_mapping = arrays_.slot_mapping,
                    .layer = cache.Layer(args.layer)},
                   stream_);
  NoteLaunches("append to the KV cache");
}

void CudaOps::Attention(const AttentionArgs& args) {
  const auto& cache = static_cast<const CudaKvCache&>(*args.kv_cache);
  const KvLayout& layout = cache.layout();
  QUIRE_CHECK(args.num_heads > 0 && args.num_heads % layout.num_kv_heads == 0);
  QUIRE_CHECK(args.qkv.rows == arrays_.num_rows && args.output.rows == arrays_.num_rows);
  QUIRE_CHECK(args.output.cols == args.num_heads * layout.head_dim && args.qkv.cols >= args.output.cols);
  QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
  if (!status_.ok()) return;
  LayerPlan& planned =
      PlanFor({.num_kv_heads = layout.num_kv_heads,
               .group = args.num_heads / layout.num_kv_heads,
               .page_size = layout.page_size,
               .num_pages = layout.num_pages,
               .sliding_window = args.sliding_window,
               .max_tile_rows = CudaAttentionTileRows(layout.head_dim, layout.key_dtype, layout.value_dtype),
               .num_workers = 2 * num_multiprocessors_},
              layout.head_dim);
  if (!Prepare(planned)) return;
  AttentionOnCuda({.queries = args.qkv.data,
                   .query_stride = args.qkv.stride,
                   .output = args.output.data,
                   .output_stride = args.output.stride,
                   .num_heads = args.num_heads,
                   .scale = args.scale,
                   .sliding_window = args.sliding_window,
                   .layer = cache.Layer(args.layer),
                   .positions = arrays_.positions,
                   .block_indices = arrays_.block_indices,
                   .plan = planned.view,
                   .partials = reinterpret_cast<float*>(partials_.data())},
                  stream_);
  NoteLaunches("attend");
}

}  // namespace quire
