#include "tests/bench/gpu/gpu_timer.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"

namespace quire {

struct GpuTimer::Events {
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
};

GpuTimer::GpuTimer(int repeats) : repeats_(repeats), events_(new Events) {
  QUIRE_CHECK(repeats > 0);
  QUIRE_CHECK(cudaStreamCreate(&stream_) == cudaSuccess);
  QUIRE_CHECK(cudaEventCreate(&events_->start) == cudaSuccess && cudaEventCreate(&events_->stop) == cudaSuccess);
}

GpuTimer::~GpuTimer() {
  cudaEventDestroy(events_->start);
  cudaEventDestroy(events_->stop);
  cudaStreamDestroy(stream_);
  delete events_;
}

absl::StatusOr<double> GpuTimer::MedianSeconds(absl::FunctionRef<void(CudaStream)> enqueue) {
  std::vector<double> seconds;
  for (int i = 0; i <= repeats_; ++i) {
    cudaEventRecord(events_->start, stream_);
    enqueue(stream_);
    cudaEventRecord(events_->stop, stream_);
    if (const cudaError_t error = cudaStreamSynchronize(stream_); error != cudaSuccess) return ToStatus(error, "wait");
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return ToStatus(error, "launch");
    float milliseconds = 0;
    const cudaError_t error = cudaEventElapsedTime(&milliseconds, events_->start, events_->stop);
    if (error != cudaSuccess) return ToStatus(error, "time");
    if (i > 0) seconds.push_back(1e-3 * milliseconds);
  }
  std::ranges::nth_element(seconds, seconds.begin() + repeats_ / 2);
  return seconds[repeats_ / 2];
}

absl::StatusOr<double> GpuTimer::MedianSecondsOfGraph(absl::FunctionRef<void(CudaStream)> enqueue) {
  cudaError_t error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
  if (error != cudaSuccess) return ToStatus(error, "record a graph");
  enqueue(stream_);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  error = cudaStreamEndCapture(stream_, &graph);
  if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (error != cudaSuccess) return ToStatus(error, "record a graph");
  const absl::StatusOr<double> seconds = MedianSeconds([&](CudaStream stream) { cudaGraphLaunch(executable, stream); });
  cudaGraphExecDestroy(executable);
  return seconds;
}

}  // namespace quire
