// Launches kernels, the same way under nvcc and under the host shim.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/stream.h"

namespace quire {

struct LaunchShape {
  dim3 grid = 1;            // Blocks.
  dim3 block = 1;           // Threads of a block.
  size_t shared_bytes = 0;  // What SharedMemory() has, for each block.
  unsigned cluster = 1;     // Blocks beside each other (x) that form a cluster: compute capability 9.0.
  CudaStream stream = nullptr;
  // The kernel may start before those in front of it on the stream have ended, and calls WaitForEarlierKernels.
  bool overlaps = false;
};

// Whether the device and the code for it are of compute capability 9.0 or later, which overlapping takes.
bool KernelsMayOverlap();

// What a block may have without asking for more, on all devices.
constexpr size_t kDefaultSharedBytes = size_t{48} << 10;

// Puts kernel(args...) on the stream and returns before it has run. Arguments are converted to the kernel's parameter
// types first. What the launch itself gets wrong is returned, and also kept for cudaGetLastError; what the kernel does
// wrong shows when the stream is next waited for.
template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... args) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  if (shape.shared_bytes > kDefaultSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (shape.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {shape.cluster, 1, 1};
  }
  if (shape.overlaps && KernelsMayOverlap()) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...);
}

}  // namespace quire
