#include "kernels/cuda/device_graph.h"

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"

namespace quire {
namespace {

// What is told here, the next to ask must not take for its own.
absl::Status Told(cudaError_t error, const char* what) {
  if (error != cudaSuccess) (void)cudaGetLastError();
  return ToStatus(error, what);
}

}  // namespace

absl::StatusOr<DeviceGraph> DeviceGraph::Record(CudaStream stream, absl::FunctionRef<void()> record) {
  cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  if (error != cudaSuccess) return Told(error, "begin to record a graph");
  record();
  cudaGraph_t captured = nullptr;
  error = cudaStreamEndCapture(stream, &captured);
  if (error != cudaSuccess) return Told(error, "record a graph");
  cudaGraphExec_t executable = nullptr;
  error = cudaGraphInstantiate(&executable, captured, 0);
  (void)cudaGraphDestroy(captured);
  if (error != cudaSuccess) return Told(error, "make a graph ready");
  DeviceGraph graph;
  graph.executable_.reset(executable);
  return graph;
}

absl::Status DeviceGraph::Launch(CudaStream stream) const {
  QUIRE_CHECK(executable_ != nullptr);
  return Told(cudaGraphLaunch(executable_.get(), stream), "launch a graph");
}

// As with memory, an error here is one of earlier work.
void DeviceGraph::Destroy::operator()(CUgraphExec_st* executable) const { (void)cudaGraphExecDestroy(executable); }

}  // namespace quire
