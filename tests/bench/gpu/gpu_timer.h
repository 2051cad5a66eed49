// Times what a GPU does, by the GPU's own clock.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/stream.h"

namespace quire {

class GpuTimer {
 public:
  // `repeats` timings are taken of everything, after one that does not count. Ends the process where there is no GPU.
  explicit GpuTimer(int repeats);
  ~GpuTimer();
  GpuTimer(const GpuTimer&) = delete;
  GpuTimer& operator=(const GpuTimer&) = delete;

  // The median of the seconds that the GPU takes for what `enqueue` puts on the stream, or what went wrong with it.
  absl::StatusOr<double> MedianSeconds(absl::FunctionRef<void(CudaStream stream)> enqueue);
  // The same when it is recorded as a graph, and the graph replayed: without what launches cost the host.
  absl::StatusOr<double> MedianSecondsOfGraph(absl::FunctionRef<void(CudaStream stream)> enqueue);

 private:
  const int repeats_;
  CudaStream stream_ = nullptr;
  struct Events;  // Which headers must not know.
  Events* const events_;
};

}  // namespace quire
