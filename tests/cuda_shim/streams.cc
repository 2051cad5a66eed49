#include "tests/cuda_shim/streams.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "tests/cuda_shim/runtime_state.h"

namespace quire::cuda_shim {
namespace {

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

}  // namespace

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

void Finish(CUstream_st& stream, uint64_t position) {
  while (!stream.operations.empty() && stream.num_done < position) {
    const Operation operation = std::move(stream.operations.front());
    stream.operations.pop_front();
    if (!RuntimeState::Get().lost()) operation();
    ++stream.num_done;
  }
}

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
      Finish(*other, kAllOperations);
    }
  }
  ++stream.num_put;
  stream.operations.push_back(std::move(operation));
  if (!state.deferred || IsDefault(stream)) Finish(stream, kAllOperations);
  return cudaSuccess;
}

cudaError_t BeginOn(cudaStream_t handle, Call call, CUstream_st** stream) {
  RuntimeState& state = RuntimeState::Get();
  if (const cudaError_t error = state.Begin(call); error != cudaSuccess) return error;
  *stream = Find(handle);
  return *stream != nullptr ? cudaSuccess : state.Record(cudaErrorInvalidResourceHandle);
}

void FinishAllStreams() {
  for (const auto& stream : AllStreams().streams) Finish(*stream, kAllOperations);
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

}  // namespace quire::cuda_shim

using quire::cuda_shim::AllStreams;
using quire::cuda_shim::BeginOn;
using quire::cuda_shim::Call;
using quire::cuda_shim::Find;
using quire::cuda_shim::Finish;
using quire::cuda_shim::kAllOperations;
using quire::cuda_shim::Put;
using quire::cuda_shim::RuntimeState;

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
  Finish(*stream, kAllOperations);
  stream->destroyed = true;
  return state.lost() ? state.PeekAtLastError() : cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(handle, Call::kSynchronize, &stream); error != cudaSuccess) return error;
  if (stream->capture != nullptr) {
    stream->capture->spoilt = true;
    return state.Record(cudaErrorStreamCaptureUnsupported);
  }
  Finish(*stream, kAllOperations);
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
  if (const cudaError_t error = BeginOn(handle, Call::kSynchronize, &stream); error != cudaSuccess) return error;
  if (stream->operations.empty()) return cudaSuccess;
  Finish(*stream, stream->num_done + 1);
  return state.lost() ? state.PeekAtLastError() : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(handle, Call::kStream, &stream); error != cudaSuccess) return error;
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
  if (const cudaError_t error = BeginOn(handle, Call::kStream, &stream); error != cudaSuccess) return error;
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
