// Streams, events and graphs of the host shim's runtime.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <vector>

#include "tests/cuda_shim/control.h"

// A graph is the work that was captured, in the order in which it was put there, which respects all dependencies.
struct CUgraph_st {
  std::vector<std::function<void()>> operations;
  cudaStream_t origin = nullptr;      // Where the capture began.
  std::vector<cudaStream_t> streams;  // That capture into it, origin first.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool spoilt = false;
};

struct CUgraphExec_st {
  std::vector<std::function<void()>> operations;
};

// Streams and events are never freed, so that the use of one that was destroyed is noticed.
struct CUstream_st {
  bool destroyed = false;
  unsigned flags = 0;
  std::deque<std::function<void()>> operations;  // Put here and not yet done.
  uint64_t num_put = 0;
  uint64_t num_done = 0;

  cudaGraph_t capture = nullptr;
  uint64_t num_captured = 0;  // Operations of this stream in the capture.
  bool joined = false;        // A stream that will be joined itself has waited for all of them.
};

struct CUevent_st {
  bool destroyed = false;
  cudaStream_t stream = nullptr;  // Null until it is recorded.
  uint64_t position = 0;          // What the stream must have done; in a capture, have captured.
  cudaGraph_t capture = nullptr;
};

namespace quire::cuda_shim {

using Operation = std::function<void()>;

constexpr uint64_t kAllOperations = std::numeric_limits<uint64_t>::max();

// The stream or event behind a handle, or null if there is none, or no more.
CUstream_st* Find(cudaStream_t handle);
CUevent_st* Find(cudaEvent_t handle);
bool IsDefault(const CUstream_st& stream);

// Begins a call about a stream.
cudaError_t BeginOn(cudaStream_t handle, Call call, CUstream_st** stream);
// Adds an operation to the stream, or to what it captures.
cudaError_t Put(CUstream_st& stream, Operation operation);
// Does the stream's work in order until `position` operations are done.
void Finish(CUstream_st& stream, uint64_t position);
// The same for all streams and all work.
void FinishAllStreams();

// All streams capture nothing and have no work left; what they had is dropped.
void ResetStreams();
// While a stream captures in global mode, calls that could wait for the device spoil the capture; then it returns the
// error.
cudaError_t SpoilCaptures();

}  // namespace quire::cuda_shim
