#include "tests/cuda_shim/streams.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "tests/cuda_shim/block_runner.h"
#include "tests/cuda_shim/runtime_state.h"

namespace quire::cuda_shim {
namespace {

constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
constexpr size_t kDefaultSharedBytes = size_t{48} << 10;

using Operation = std::function<void()>;

// All streams and events of the process; the first stream is the default one.
struct Registry {
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::vector<std::unique_ptr<CUevent_st>> events;
};

Registry& AllStreams() {
  static Registry* const registry = [] {
    auto* const made = new Registry();
    made->streams.push_back(std::make_unique<CUstream_st>());
    return made;
  }();
  return *registry;
}

// Does the stream's work in order until `position` operations are done.
void Finish(CUstream_st& stream, uint64_t position) {
  while (!stream.operations.empty() && stream.num_done < position) {
    const Operation operation = std::move(stream.operations.front());
    stream.operations.pop_front();
    if (!RuntimeState::Get().lost()) operation();
    ++stream.num_done;
  }
}

// The stream behind a handle, or null if there is none.
CUstream_st* Find(cudaStream_t handle) {
  if (handle == nullptr) return AllStreams().streams.front().get();
  for (const auto& stream : AllStreams().streams) {
    if (stream.get() == handle && !stream->destroyed) return handle;
  }
  return nullptr;
}

CUevent_st* Find(cudaEvent_t handle) {
  for (const auto& event : AllStreams().events) {
    if (event.get() == handle && !event->destroyed) return handle;
  }
  return nullptr;
}

bool IsDefault(const CUstream_st& stream) { return &stream == AllStreams().streams.front().get(); }

// The default stream waits for those that do not ask to be left alone, and cannot while one captures.
cudaError_t Put(CUstream_st& stream, Operation operation) {
  RuntimeState& state = RuntimeState::Get();
  if (stream.capture != nullptr) {
    if (stream.capture->spoilt) return state.Record(cudaErrorStreamCaptureInvalidated);
    stream.capture->operations.push_back(std::move(operation));
    ++stream.num_captured;
    stream.joined = false;
    return cudaSuccess;
  }
  if (IsDefault(stream)) {
    for (const auto& other : AllStreams().streams) {
      if (other->flags == cudaStreamNonBlocking) continue;
      if (other->capture != nullptr) {
        other->capture->spoilt = true;
        return state.Record(cudaErrorStreamCaptureImplicit);
      }
      Finish(*other, kAll);
    }
  }
  ++stream.num_put;
  stream.operations.push_back(std::move(operation));
  if (!state.deferred || IsDefault(stream)) Finish(stream, kAll);
  return cudaSuccess;
}

// Begins a call about a stream.
cudaError_t Begin(Call call, cudaStream_t handle, CUstream_st** stream) {
  RuntimeState& state = RuntimeState::Get();
  if (const cudaError_t error = state.Begin(call); error != cudaSuccess) return error;
  *stream = Find(handle);
  return *stream != nullptr ? cudaSuccess : state.Record(cudaErrorInvalidResourceHandle);
}

void RunKernel(const Grid& grid, const std::function<void()>& thread) {
  RuntimeState& state = RuntimeState::Get();
  if (state.Begin(Call::kExecution) != cudaSuccess) return;
  ++state.num_kernels_run;
  BlockRunner::Get().Run(grid, thread);
}

bool ValidShape(const dim3& grid, const dim3& block) {
  constexpr unsigned kMaxX = 0x7fffffff, kMaxYZ = 65535;
  const auto positive = [](const dim3& sizes) { return sizes.x > 0 && sizes.y > 0 && sizes.z > 0; };
  return positive(grid) && positive(block) && grid.x <= kMaxX && grid.y <= kMaxYZ && grid.z <= kMaxYZ &&
         block.x <= kMaxBlockThreads && block.y <= kMaxBlockThreads && block.z <= 64 &&
         uint64_t{block.x} * block.y * block.z <= kMaxBlockThreads;
}

// The bytes from `address` on lie in one allocation, or in memory that the shim knows nothing about.
bool WithinAllocation(const RuntimeState::Allocations& allocations, const void* address, size_t bytes, bool* known) {
  const auto* const first = static_cast<const std::byte*>(address);
  auto next = allocations.upper_bound(first);
  *known = false;
  if (next == allocations.begin()) return true;
  const auto [start, size] = *std::prev(next);
  if (first >= start + size) return true;
  *known = true;
  return bytes <= size - static_cast<size_t>(first - start);
}

bool ValidCopy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const RuntimeState& state = RuntimeState::Get();
  bool to_device, from_device, to_pinned, from_pinned;
  const bool within = WithinAllocation(state.device_memory, to, bytes, &to_device) &
                      WithinAllocation(state.device_memory, from, bytes, &from_device) &
                      WithinAllocation(state.pinned_memory, to, bytes, &to_pinned) &
                      WithinAllocation(state.pinned_memory, from, bytes, &from_pinned);
  const bool from_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
  const bool to_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
  return within && !(from_host && from_device) && !(to_host && to_device);
}

bool Pageable(const void* address) {
  const RuntimeState& state = RuntimeState::Get();
  bool device, pinned;
  (void)WithinAllocation(state.device_memory, address, 0, &device);
  (void)WithinAllocation(state.pinned_memory, address, 0, &pinned);
  return !device && !pinned;
}

// As the runtime does with pageable memory: a source is read before the call returns, and a destination is written.
cudaError_t PutCopy(CUstream_st& stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Operation copy = [=] { std::memmove(to, from, bytes); };
  if (stream.capture != nullptr) return Put(stream, std::move(copy));
  if (kind == cudaMemcpyHostToDevice && Pageable(from)) {
    const auto* const first = static_cast<const std::byte*>(from);
    copy = [to, source = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(to, source.data(), source.size());
    };
  }
  const cudaError_t error = Put(stream, std::move(copy));
  if (error == cudaSuccess && kind == cudaMemcpyDeviceToHost && Pageable(to)) Finish(stream, kAll);
  return error;
}

void EndCapture(CUgraph_st& graph) {
  for (const cudaStream_t stream : graph.streams) stream->capture = nullptr;
}

}  // namespace

void FinishAllStreams() {
  for (const auto& stream : AllStreams().streams) Finish(*stream, kAll);
}

void ResetStreams() {
  for (const auto& stream : AllStreams().streams) {
    stream->capture = nullptr;
    stream->operations.clear();
    stream->num_done = stream->num_put;
  }
}

cudaError_t SpoilCaptures() {
  cudaError_t error = cudaSuccess;
  for (const auto& stream : AllStreams().streams) {
    if (stream->capture == nullptr || stream->capture->mode != cudaStreamCaptureModeGlobal) continue;
    stream->capture->spoilt = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return RuntimeState::Get().Record(error);
}

cudaError_t EnqueueLaunch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kLaunch, config.stream, &stream); error != cudaSuccess) return error;
  if (!ValidShape(config.gridDim, config.blockDim)) return state.Record(cudaErrorInvalidConfiguration);
  const auto limit = state.shared_byte_limits.find(kernel);
  if (config.dynamicSmemBytes > (limit == state.shared_byte_limits.end() ? kDefaultSharedBytes : limit->second)) {
    return state.Record(cudaErrorInvalidValue);
  }
  const Grid grid = {config.gridDim, config.blockDim, config.dynamicSmemBytes};
  return Put(*stream, [grid, thread = std::move(thread)] { RunKernel(grid, thread); });
}

}  // namespace quire::cuda_shim

using quire::cuda_shim::AllStreams;
using quire::cuda_shim::Begin;
using quire::cuda_shim::Call;
using quire::cuda_shim::Find;
using quire::cuda_shim::Finish;
using quire::cuda_shim::kAll;
using quire::cuda_shim::Put;
using quire::cuda_shim::RuntimeState;

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kCopy, handle, &stream); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!quire::cuda_shim::ValidCopy(to, from, bytes, kind)) return state.Record(cudaErrorInvalidValue);
  return quire::cuda_shim::PutCopy(*stream, to, from, bytes, kind);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = quire::cuda_shim::SpoilCaptures(); error != cudaSuccess) return error;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kCopy, handle, &stream); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!quire::cuda_shim::ValidCopy(to, to, bytes, cudaMemcpyDefault)) return state.Record(cudaErrorInvalidValue);
  return Put(*stream, [=] { std::memset(to, byte, bytes); });
}

cudaError_t cudaMemset(void* to, int byte, size_t bytes) { return cudaMemsetAsync(to, byte, bytes, nullptr); }

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kStream); error != cudaSuccess) return error;
  AllStreams().streams.push_back(std::make_unique<CUstream_st>());
  *stream = AllStreams().streams.back().get();
  (*stream)->flags = flags;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* const stream = Find(handle);
  if (stream == nullptr || handle == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  QUIRE_CHECK(stream->capture == nullptr);
  Finish(*stream, kAll);
  stream->destroyed = true;
  return state.lost() ? state.PeekAtLastError() : cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kSynchronize, handle, &stream); error != cudaSuccess) return error;
  if (stream->capture != nullptr) {
    stream->capture->spoilt = true;
    return state.Record(cudaErrorStreamCaptureUnsupported);
  }
  Finish(*stream, kAll);
  return state.lost() ? state.PeekAtLastError() : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kSynchronize); error != cudaSuccess) return error;
  if (const cudaError_t error = quire::cuda_shim::SpoilCaptures(); error != cudaSuccess) return error;
  quire::cuda_shim::FinishAllStreams();
  return state.lost() ? state.PeekAtLastError() : cudaSuccess;
}

// Asking makes one more operation be done, so that whoever polls comes to an end.
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kSynchronize, handle, &stream); error != cudaSuccess) return error;
  if (stream->operations.empty()) return cudaSuccess;
  Finish(*stream, stream->num_done + 1);
  return state.lost() ? state.PeekAtLastError() : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kStream, handle, &stream); error != cudaSuccess) return error;
  if (Find(event) == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  if (event->stream == nullptr) return cudaSuccess;
  if (event->capture != nullptr) {
    if (stream->capture == nullptr) {
      stream->capture = event->capture;
      stream->num_captured = 0;
      event->capture->streams.push_back(stream);
    }
    if (stream->capture != event->capture) return state.Record(cudaErrorStreamCaptureIsolation);
    stream->joined = false;
    if (event->stream != stream && event->position == event->stream->num_captured) event->stream->joined = true;
    return cudaSuccess;
  }
  if (stream->capture != nullptr) {
    stream->capture->spoilt = true;
    return state.Record(cudaErrorStreamCaptureIsolation);
  }
  return Put(*stream, [from = event->stream, position = event->position] { Finish(*from, position); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kStream); error != cudaSuccess) return error;
  AllStreams().events.push_back(std::make_unique<CUevent_st>());
  *event = AllStreams().events.back().get();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (Find(event) == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  event->destroyed = true;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kStream, handle, &stream); error != cudaSuccess) return error;
  if (Find(event) == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  event->stream = stream;
  event->capture = stream->capture;
  event->position = stream->capture != nullptr ? stream->num_captured : stream->num_put;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kSynchronize); error != cudaSuccess) return error;
  if (Find(event) == nullptr || event->capture != nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  if (event->stream != nullptr) Finish(*event->stream, event->position);
  return state.lost() ? state.PeekAtLastError() : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kSynchronize); error != cudaSuccess) return error;
  if (Find(event) == nullptr || event->capture != nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  if (event->stream == nullptr || event->stream->num_done >= event->position) return cudaSuccess;
  Finish(*event->stream, event->stream->num_done + 1);
  return state.lost() ? state.PeekAtLastError() : cudaErrorNotReady;
}

// No time passes on this device.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kSynchronize); error != cudaSuccess) return error;
  for (const cudaEvent_t event : {start, end}) {
    if (Find(event) == nullptr || event->stream == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
    if (event->stream->num_done < event->position) return cudaErrorNotReady;
  }
  *milliseconds = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kGraph, handle, &stream); error != cudaSuccess) return error;
  if (quire::cuda_shim::IsDefault(*stream)) return state.Record(cudaErrorStreamCaptureUnsupported);
  if (stream->capture != nullptr) return state.Record(cudaErrorInvalidValue);
  stream->capture = new CUgraph_st();
  stream->capture->origin = stream;
  stream->capture->streams = {stream};
  stream->capture->mode = mode;
  stream->num_captured = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  *graph = nullptr;
  CUstream_st* const stream = Find(handle);
  if (stream == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  if (stream->capture == nullptr) return state.Record(cudaErrorInvalidValue);
  if (stream->capture->origin != stream) return state.Record(cudaErrorStreamCaptureUnmatched);
  std::unique_ptr<CUgraph_st> captured(stream->capture);
  const auto open = [&](cudaStream_t other) { return other != stream && !other->joined; };
  const bool unjoined = std::any_of(captured->streams.begin(), captured->streams.end(), open);
  quire::cuda_shim::EndCapture(*captured);
  if (const cudaError_t error = state.Begin(Call::kGraph); error != cudaSuccess) return error;
  if (captured->spoilt) return state.Record(cudaErrorStreamCaptureInvalidated);
  if (unjoined) return state.Record(cudaErrorStreamCaptureUnjoined);
  *graph = captured.release();
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  const CUstream_st* const stream = Find(handle);
  if (stream == nullptr) return state.Record(cudaErrorInvalidResourceHandle);
  *status = stream->capture == nullptr   ? cudaStreamCaptureStatusNone
            : stream->capture->spoilt ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kGraph); error != cudaSuccess) return error;
  *executable = new CUgraphExec_st{graph->operations};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = Begin(Call::kGraph, handle, &stream); error != cudaSuccess) return error;
  return Put(*stream, [operations = executable->operations] {
    for (const auto& operation : operations) {
      if (!RuntimeState::Get().lost()) operation();
    }
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
