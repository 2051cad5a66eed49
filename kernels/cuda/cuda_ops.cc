#include "kernels/cuda/cuda_ops.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/page_copy.h"
#include "kernels/cuda/sample.h"
#include "kernels/host_pages.h"

namespace quire {
namespace {

constexpr int kLeastComputeCapability = 8;
constexpr char kWaiting[] = "wait for the GPU";

class CudaBuffer : public Buffer {
 public:
  CudaBuffer(DeviceMemory memory, int64_t floats) : memory_(std::move(memory)), floats_(floats) {}
  float* data() const override { return reinterpret_cast<float*>(memory_.data()); }
  int64_t size() const override { return floats_; }

 private:
  DeviceMemory memory_;
  int64_t floats_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CudaOps>> CudaOps::Create(CudaOptions options) {
  cudaDeviceProp properties;
  cudaError_t error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) return ToStatus(error, "look for a GPU");
  if (properties.major < kLeastComputeCapability) {
    return absl::InvalidArgumentError(absl::StrCat("the GPU (", properties.name, ") has compute capability ",
                                                   properties.major, ".", properties.minor,
                                                   ", at least 8.0 is needed"));
  }
  CudaStream stream = nullptr;
  error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return ToStatus(error, "make a stream");
  std::unique_ptr<CudaOps> ops(new CudaOps(std::move(options), stream));
  absl::StatusOr<std::unique_ptr<PageTransfers>> transfers = PageTransfers::Create(stream);
  if (!transfers.ok()) return transfers.status();
  ops->transfers_ = *std::move(transfers);
  for (Exchange& exchange : ops->exchanges_) {
    error = cudaEventCreateWithFlags(&exchange.done, cudaEventDisableTiming);
    if (error != cudaSuccess) return ToStatus(error, "make an event");
  }
  ops->num_multiprocessors_ = properties.multiProcessorCount;
  ops->description_ = absl::StrCat("cuda, ", properties.name, ", ", properties.multiProcessorCount, " multiprocessors");
  return ops;
}

CudaOps::CudaOps(CudaOptions options, CudaStream stream)
    : options_(std::move(options)),
      stream_(stream),
      pool_(DefaultWorkerCount()),
      work_loop_(pool_),
      staging_(stream),
      exchanges_{Exchange(stream), Exchange(stream)} {}

CudaOps::~CudaOps() {
  cudaStreamSynchronize(stream_);
  for (const Exchange& exchange : exchanges_) {
    if (exchange.done != nullptr) cudaEventDestroy(exchange.done);
  }
  cudaStreamDestroy(stream_);
}

bool CudaOps::Note(const absl::Status& status) {
  status_.Update(status);
  return status_.ok();
}

void CudaOps::NoteLaunches(const char* what) { Note(ToStatus(cudaGetLastError(), what)); }

template <typename T>
const T* CudaOps::ToDevice(std::span<const T> values) {
  QUIRE_CHECK(!is_recording_);
  if (!status_.ok()) return nullptr;
  absl::StatusOr<const T*> copy = exchange().arena.Copy(values);
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

bool CudaOps::GrowForGraphs(size_t bytes, const char* what, DeviceMemory& memory) {
  if (memory.size() >= bytes) return status_.ok();
  QUIRE_CHECK(!is_recording_);
  ++num_moves_;
  return Grow(bytes + bytes / 4, what, memory);  // With something to spare, so that it moves rarely.
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::PackParts(std::span<const RawMatrix> parts, bool gated,
                                                                 WeightPrecision precision) {
  const auto parallel_for = [this](int64_t count, absl::FunctionRef<void(int64_t)> fn) {
    ForEach(count, [&](int64_t index, int) { fn(index); });
  };
  return CudaPackedMatrix::Create(parts, gated, precision, staging_, parallel_for);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::Pack(std::span<const RawMatrix> parts,
                                                            WeightPrecision precision) {
  return PackParts(parts, /*gated=*/false, precision);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaOps::PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                                 WeightPrecision precision) {
  const RawMatrix parts[] = {gate, up};
  return PackParts(parts, /*gated=*/true, precision);
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

void CudaOps::Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) {
  const auto& rows = static_cast<const CudaPackedMatrix&>(table);
  QUIRE_CHECK(output.rows == static_cast<int64_t>(ids.size()) && output.cols == rows.cols());
  if (std::ranges::any_of(ids, [](int32_t id) { return id < 0; })) {
    const Exchange& before = exchanges_[1 - current_];
    for (const int32_t id : ids) QUIRE_CHECK(id >= 0 || ~id < before.num_chosen);
    Note(before.status);  // Where it failed, nothing was chosen.
  }
  const int32_t* device_ids = ToDevice(ids);
  if (!status_.ok()) return;
  quire::Embed(rows, device_ids, reinterpret_cast<const int32_t*>(chosen_.data()), output, stream_);
  NoteLaunches("embed tokens");
}

void CudaOps::MatMul(const MatMulArgs& args) {
  if (!status_.ok()) return;
  if (!mat_mul_scratch_.HasRoomFor(args.input.rows, args.input.cols)) {
    QUIRE_CHECK(!is_recording_);
    ++num_moves_;
    // For all steps to come, so that it moves no more.
    const int64_t max_rows = std::max<int64_t>(args.input.rows, max_rows_);
    if (!Note(mat_mul_scratch_.Reserve(max_rows, args.input.cols, stream_))) return;
  }
  quire::MatMul(args, mat_mul_scratch_, stream_);
  NoteLaunches("multiply matrices");
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

absl::StatusOr<std::unique_ptr<HostPages>> CudaOps::AllocateHostPages(const KvLayout& layout, int num_pages) {
  return HostPagesIn<PinnedMemory>::Allocate(
      layout, num_pages, [](size_t bytes) { return PinnedMemory::Allocate(bytes, "pages beside the KV cache"); });
}

absl::StatusOr<uint64_t> CudaOps::StartToHost(const KvCache& kv_cache, std::span<const PageTransfer> pages,
                                              HostPages& host) {
  return transfers_->StartToHost(static_cast<const CudaKvCache&>(kv_cache), pages, host);
}

absl::StatusOr<uint64_t> CudaOps::StartFromHost(KvCache& kv_cache, std::span<const PageTransfer> pages,
                                                const HostPages& host) {
  return transfers_->StartFromHost(static_cast<CudaKvCache&>(kv_cache), pages, host);
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
  const size_t sampled_bytes = round_up(num_rows * sizeof(SampledRow));
  const size_t scratch_bytes = CudaSampleScratchBytes(num_rows, vocab_size);
  Exchange& step = exchange();
  if (step.num_sample_calls == step.sampled.size()) step.sampled.emplace_back();
  PinnedMemory& on_host = step.sampled[step.num_sample_calls++];
  const int first = std::exchange(step.num_chosen, step.num_chosen + num_rows);
  if (!Grow(sampled_bytes + scratch_bytes, "sampling", sample_memory_) || !GrowChosen(step.num_chosen) ||
      !Grow(sampled_bytes, "sampled tokens on the host", on_host)) {
    return {};
  }
  std::byte* const memory = sample_memory_.data();
  auto* const sampled = reinterpret_cast<SampledRow*>(memory);
  SampleOnCuda({.logits = logits.data,
                .logits_stride = logits.stride,
                .vocab_size = vocab_size,
                .plan = plan,
                .num_rows = num_rows,
                .scratch = memory + sampled_bytes,
                .tokens = reinterpret_cast<int32_t*>(chosen_.data()) + first,
                .sampled = sampled},
               stream_);
  NoteLaunches("sample");
  Note(
      ToStatus(cudaMemcpyAsync(on_host.data(), sampled, num_rows * sizeof(SampledRow), cudaMemcpyDeviceToHost, stream_),
               "copy sampled tokens to the host"));
  return {reinterpret_cast<const SampledRow*>(on_host.data()), static_cast<size_t>(num_rows)};
}

bool CudaOps::GrowChosen(int num_tokens) {
  const size_t bytes = static_cast<size_t>(num_tokens) * sizeof(int32_t);
  if (chosen_.size() >= bytes) return status_.ok();
  constexpr size_t kLeastBytes = 4096;
  const DeviceMemory before = std::exchange(chosen_, DeviceMemory());
  if (!Grow(std::max({bytes, 2 * before.size(), kLeastBytes}), "sampled tokens", chosen_)) return false;
  if (before.size() == 0) return true;
  return Note(ToStatus(
      cudaMemcpyAsync(chosen_.data(), before.data(), before.size(), cudaMemcpyDeviceToDevice, stream_),
      "move sampled tokens"));
}

absl::Status CudaOps::Synchronize() {
  QUIRE_CHECK(num_ended_ == 0);
  const absl::Status waited = ToStatus(cudaStreamSynchronize(stream_), kWaiting);
  // A lost device says so first where it is waited for; what comes later fails for its sake.
  if (absl::IsUnavailable(waited)) status_ = waited;
  status_.Update(waited);
  exchange().Reset();
  exchange().num_chosen = 0;
  arrays_ = {};  // There is no step any more.
  return TakeStatus();
}

absl::Status CudaOps::TakeStatus() {
  const absl::Status status = status_;
  if (!status.ok()) (void)cudaGetLastError();  // It is told here, and the next step must not take it for its own.
  if (!absl::IsUnavailable(status_)) status_ = absl::OkStatus();
  return status;
}

CudaOps::Exchange& CudaOps::exchange() {
  QUIRE_CHECK(num_ended_ < kMostQueuedSteps);
  return exchanges_[current_];
}

void CudaOps::EndStep() {
  Exchange& step = exchange();
  step.is_marked = Note(ToStatus(cudaEventRecord(step.done, stream_), kWaiting));
  step.status = TakeStatus();
  arrays_ = {};
  ++num_ended_;
  current_ = 1 - current_;
  exchanges_[current_].num_chosen = 0;
}

// Waiting for the step alone leaves the device what was put on its way behind it.
absl::Status CudaOps::AwaitStep() {
  QUIRE_CHECK(num_ended_ > 0);
  Exchange& step = exchanges_[(current_ + num_ended_) % kMostQueuedSteps];
  const cudaError_t error = step.is_marked ? cudaEventSynchronize(step.done) : cudaStreamSynchronize(stream_);
  const absl::Status waited = ToStatus(error, kWaiting);
  if (!waited.ok()) (void)cudaGetLastError();
  // A lost device says so first where it is waited for; what comes later fails for its sake.
  if (absl::IsUnavailable(waited)) step.status = status_ = waited;
  step.status.Update(waited);
  step.Reset();
  --num_ended_;
  return step.status;
}

void CudaOps::ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) {
  work_loop_.Run(count, fn);
}

bool HasCudaDevice() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps(CudaOptions options) { return CudaOps::Create(std::move(options)); }

}  // namespace quire
