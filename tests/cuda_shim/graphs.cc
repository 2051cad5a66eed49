// Captures and graphs.
#include <cuda_runtime.h>

#include <algorithm>
#include <memory>

#include "tests/cuda_shim/runtime_state.h"
#include "tests/cuda_shim/streams.h"

using quire::cuda_shim::BeginOn;
using quire::cuda_shim::Call;
using quire::cuda_shim::Find;
using quire::cuda_shim::Put;
using quire::cuda_shim::RuntimeState;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(handle, Call::kGraph, &stream); error != cudaSuccess) return error;
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
  for (const cudaStream_t each : captured->streams) each->capture = nullptr;
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
  if (const cudaError_t error = BeginOn(handle, Call::kGraph, &stream); error != cudaSuccess) return error;
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
