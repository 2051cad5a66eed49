#include "kernels/cuda/cuda_ops.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/page_copy.h"
#include "kernels/cuda/rope_append.h"
#include "kernels/cuda/sample.h"

namespace quire {
namespace {

constexpr int kLeastComputeCapability = 8;

class CudaBuffer : public Buffer {
 public:
  CudaBuffer(DeviceMemory memory, int64_t floats) : memory_(std::move(memory)), floats_(floats) {}
  float* data() const override { return reinterpret_cast<float*>(memory_.data()); }
  int64_t size() const override { return floats_; }

 private:
  DeviceMemory memory_;
  int64_t floats_;
};

template <typename T>
const T* DataOrNull(std::span<const T> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaOps>> CudaOps::Create() {
  cudaDeviceProp properties;
  cudaError_t error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) return ToStatus(error, "look for a GPU");
  if (properties.major < kLeastComputeCapability) {
    return absl::InvalidArgumentError(absl::StrCat("the GPU (", properties.name, ") has compute capability ",
                                                   properties.major, ".", properties.minor, ", at least 8.0 is needed"));
  }
  CudaStream stream = nullptr;
  error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return ToStatus(error, "make a stream");
  std::unique_ptr<CudaOps> ops(new CudaOps(stream));
  ops->num_multiprocessors_ = properties.multiProcessorCount;
  ops->description_ = absl::StrCat("cuda, ", properties.name, ", ", properties.multiProcessorCount, " multiprocessors");
  return ops;
}

CudaOps::CudaOps(CudaStream stream)
    : stream_(stream), pool_(DefaultWorkerCount()), work_loop_(pool_), staging_(stream), arena_(stream) {}

CudaOps::~CudaOps() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

bool CudaOps::Note(const absl::Status& status) {
  status_.Update(status);
  return status_.ok();
}

void CudaOps::NoteLaunches(const char* what) { Note(ToStatus(cudaGetLastError(), what)); }

template <typename T>
const T* CudaOps::ToDevice(std::span<const T> values) {
  if (!status_.ok()) return nullptr;
  absl::StatusOr<const T*> copy = arena_.Copy(values);
  return Note(copy.status()) ? *copy : nullptr;
}

// Freeing waits for the device, so that nothing still uses what is given up.
template <typename Memory>
bool CudaOps::Grow(size_t bytes, const char* what, Memory& memory) {
  if (!status_.ok()) return false;
  if (memory.size() >= bytes) return true;
  memory = Memory();
  absl::StatusOr<Memory> larger = Memory::Allocate(bytes, what);
  if (!Note(larger.status())) return false;
  memory = *std::move(larger);
  return true;
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::PackParts(std::span<const RawMatrix> parts, bool gated) {
  const auto parallel_for = [this](int64_t count, absl::FunctionRef<void(int64_t)> fn) {
    ForEach(count, [&](int64_t index, int) { fn(index); });
  };
  return CudaPackedMatrix::Create(parts, gated, staging_, parallel_for);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::Pack(std::span<const RawMatrix> parts) {
  return PackParts(parts, /*gated=*/false);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::PackGated(const RawMatrix& gate, const RawMatrix& up) {
  const RawMatrix parts[] = {gate, up};
  return PackParts(parts, /*gated=*/true);
}

absl::StatusOr<std::unique_ptr<KvCache>> CudaOps::AllocateKvCache(const KvLayout& layout) {
  return CudaKvCache::Create(layout);
}

std::optional<int64_t> CudaOps::FreeDeviceMemory() const {
  size_t free_bytes = 0, total_bytes = 0;
  if (cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) return 0;
  return static_cast<int64_t>(free_bytes);
}

absl::StatusOr<std::unique_ptr<Buffer>> CudaOps::Allocate(int64_t floats) {
  QUIRE_CHECK(floats >= 0);
  // Clamped, so that a product beyond 64 bits is refused instead of wrapping to something small.
  const size_t count = std::min(static_cast<size_t>(floats), std::numeric_limits<size_t>::max() / sizeof(float));
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(count * sizeof(float), "activations");
  if (!memory.ok()) return memory.status();
  const cudaError_t error = cudaMemsetAsync(memory->data(), 0, count * sizeof(float), stream_);
  if (error != cudaSuccess) return ToStatus(error, "clear activations");
  return std::make_unique<CudaBuffer>(*std::move(memory), floats);
}

absl::StatusOr<std::unique_ptr<Buffer>> CudaOps::Upload(std::span<const float> values) {
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(values.size_bytes(), "weights");
  if (!memory.ok()) return memory.status();
  const cudaError_t error = cudaMemcpy(memory->data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice);
  if (error != cudaSuccess) return ToStatus(error, "copy weights to the device");
  return std::make_unique<CudaBuffer>(*std::move(memory), static_cast<int64_t>(values.size()));
}

void CudaOps::BeginStep(const PagedBatchView& batch) {
  ++step_;
  batch_ = batch;
  rotated_frequencies_ = nullptr;
  arrays_ = {.num_tokens = batch.num_tokens(),
             .positions = ToDevice(batch.positions),
             .slot_mapping = ToDevice(batch.slot_mapping),
             .block_indices = ToDevice(batch.block_indices)};
}

void CudaOps::Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) {
  const auto& rows = static_cast<const CudaPackedMatrix&>(table);
  QUIRE_CHECK(output.rows == static_cast<int64_t>(ids.size()) && output.cols == rows.cols());
  const int32_t* device_ids = ToDevice(ids);
  if (!status_.ok()) return;
  quire::Embed(rows, device_ids, output, stream_);
  NoteLaunches("embed tokens");
}

void CudaOps::MatMul(const MatMulArgs& args) {
  if (!status_.ok()) return;
  if (!mat_mul_scratch_.HasRoomFor(args.input.rows, args.input.cols) &&
      !Note(mat_mul_scratch_.Reserve(args.input.rows, args.input.cols, stream_))) {
    return;
  }
  quire::MatMul(args, mat_mul_scratch_, stream_);
  NoteLaunches("multiply matrices");
}

void CudaOps::RopeAppend(const RopeAppendArgs& args) {
  const auto& cache = static_cast<const CudaKvCache&>(*args.kv_cache);
  const KvLayout& layout = cache.layout();
  const auto num_frequencies = static_cast<int>(args.rope.inverse_frequencies.size());
  QUIRE_CHECK(args.qkv.rows == arrays_.num_tokens && args.batch.num_tokens() == arrays_.num_tokens);
  QUIRE_CHECK(args.qkv.cols == (args.num_heads + 2 * layout.num_kv_heads) * layout.head_dim);
  QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
  QUIRE_CHECK(2 * num_frequencies <= layout.head_dim);
  const size_t rotations_bytes = size_t{2} * num_frequencies * arrays_.num_tokens * sizeof(float);
  if (!Grow(rotations_bytes, "rotations", rotations_)) return;
  auto* rotations = reinterpret_cast<float*>(rotations_.data());
  const float* frequencies = DataOrNull(args.rope.inverse_frequencies);
  if (rotated_frequencies_ != frequencies) {
    ComputeCudaRotations(arrays_.positions, arrays_.num_tokens, frequencies, num_frequencies, rotations, stream_);
    rotated_frequencies_ = frequencies;
  }
  RopeAppendOnCuda({.qkv = args.qkv.data,
                    .qkv_stride = args.qkv.stride,
                    .num_tokens = arrays_.num_tokens,
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

CudaOps::LayerPlan* CudaOps::PlanFor(const CudaAttentionPlan::Shape& shape) {
  auto found = std::ranges::find_if(plans_, [&](const auto& plan) { return plan->shape == shape; });
  if (found == plans_.end()) {
    plans_.push_back(std::make_unique<LayerPlan>());
    found = std::prev(plans_.end());
    (*found)->shape = shape;
  }
  LayerPlan& planned = **found;
  if (planned.step != step_) {
    planned.plan.Update(batch_, shape);
    const CudaAttentionRoom room = planned.plan.NeededRoom();
    planned.words.resize(room.num_words());
    planned.plan.Write(room, planned.words);
    const int32_t* words = ToDevice(std::span<const int32_t>(planned.words));
    if (!status_.ok()) return nullptr;
    planned.view = CudaAttentionPlan::ViewAt(words, room);
    planned.step = step_;
  }
  return &planned;
}

void CudaOps::Attention(const AttentionArgs& args) {
  const auto& cache = static_cast<const CudaKvCache&>(*args.kv_cache);
  const KvLayout& layout = cache.layout();
  QUIRE_CHECK(args.num_heads > 0 && args.num_heads % layout.num_kv_heads == 0);
  QUIRE_CHECK(args.qkv.rows == arrays_.num_tokens && args.output.rows == arrays_.num_tokens);
  QUIRE_CHECK(args.output.cols == args.num_heads * layout.head_dim && args.qkv.cols >= args.output.cols);
  QUIRE_CHECK(args.layer >= 0 && args.layer < layout.num_layers);
  if (!status_.ok()) return;
  const LayerPlan* planned = PlanFor({.num_kv_heads = layout.num_kv_heads,
                                      .group = args.num_heads / layout.num_kv_heads,
                                      .page_size = layout.page_size,
                                      .num_pages = layout.num_pages,
                                      .sliding_window = args.sliding_window,
                                      .max_tile_rows = CudaAttentionTileRows(layout.head_dim),
                                      .num_workers = 2 * num_multiprocessors_});
  if (planned == nullptr) return;
  const int64_t partial_floats =
      CudaAttentionPartialFloats(planned->plan.num_partials(), args.num_heads, layout.head_dim);
  if (!Grow(partial_floats * sizeof(float), "states of attention", partials_)) return;
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
                   .plan = planned->view,
                   .partials = reinterpret_cast<float*>(partials_.data())},
                  stream_);
  NoteLaunches("attend");
}

void CudaOps::GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) {
  QUIRE_CHECK(output.rows == static_cast<int64_t>(rows.size()) && output.cols == input.cols);
  for (const int32_t row : rows) QUIRE_CHECK(row >= 0 && row < input.rows);
  const int32_t* device_rows = ToDevice(rows);
  if (!status_.ok()) return;
  quire::GatherRows(input, device_rows, output, stream_);
  NoteLaunches("gather rows");
}

void CudaOps::CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) {
  const auto& cache = static_cast<const CudaKvCache&>(kv_cache);
  if (!status_.ok()) return;
  CopyCudaKvPages(cache.layout(), cache.memory(), copies, stream_);
  NoteLaunches("copy pages");
}

MatrixView<const float> CudaOps::ToHost(MatrixView<const float> matrix) {
  const size_t bytes = ((matrix.rows - 1) * matrix.stride + matrix.cols) * sizeof(float);
  if (Grow(bytes, "results on the host", host_matrix_)) {
    Note(ToStatus(cudaMemcpyAsync(host_matrix_.data(), matrix.data, bytes, cudaMemcpyDeviceToHost, stream_),
                  "copy results to the host"));
  }
  return {reinterpret_cast<const float*>(host_matrix_.data()), matrix.rows, matrix.cols, matrix.stride};
}

std::span<const SampledRow> CudaOps::Sample(MatrixView<const float> logits, int num_rows,
                                            absl::FunctionRef<SampleRow(int index)> row) {
  const auto vocab_size = static_cast<int>(logits.cols);
  sample_plan_.Begin(num_rows, vocab_size);
  for (int i = 0; i < num_rows; ++i) sample_plan_.Add(row(i));
  const std::byte* plan = ToDevice(sample_plan_.bytes());

  const auto round_up = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  const size_t token_bytes = round_up(num_rows * sizeof(int32_t));
  const size_t sampled_bytes = round_up(num_rows * sizeof(SampledRow));
  const size_t scratch_bytes = CudaSampleScratchBytes(num_rows, vocab_size);
  if (!Grow(token_bytes + sampled_bytes + scratch_bytes, "sampling", sample_memory_) ||
      !Grow(sampled_bytes, "sampled tokens on the host", host_sampled_)) {
    return {};
  }
  std::byte* const memory = sample_memory_.data();
  auto* const sampled = reinterpret_cast<SampledRow*>(memory + token_bytes);
  SampleOnCuda({.logits = logits.data,
                .logits_stride = logits.stride,
                .vocab_size = vocab_size,
                .plan = plan,
                .num_rows = num_rows,
                .scratch = memory + token_bytes + sampled_bytes,
                .tokens = reinterpret_cast<int32_t*>(memory),
                .sampled = sampled},
               stream_);
  NoteLaunches("sample");
  Note(ToStatus(cudaMemcpyAsync(host_sampled_.data(), sampled, num_rows * sizeof(SampledRow), cudaMemcpyDeviceToHost,
                                stream_),
                "copy sampled tokens to the host"));
  return {reinterpret_cast<const SampledRow*>(host_sampled_.data()), static_cast<size_t>(num_rows)};
}

absl::Status CudaOps::Synchronize() {
  const absl::Status waited = ToStatus(cudaStreamSynchronize(stream_), "wait for the GPU");
  // A lost device says so first where it is waited for; what comes later fails for its sake.
  if (absl::IsUnavailable(waited)) status_ = waited;
  status_.Update(waited);
  arena_.Reset();
  arrays_ = {};
  const absl::Status status = status_;
  if (!absl::IsUnavailable(status_)) status_ = absl::OkStatus();
  return status;
}

void CudaOps::ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) {
  work_loop_.Run(count, fn);
}

bool HasCudaDevice() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps() { return CudaOps::Create(); }

}  // namespace quire
