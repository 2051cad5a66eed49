#include "kernels/cuda/launch.cuh"

#include <cuda_runtime.h>

namespace quire {
namespace {

__global__ void EmptyKernel() {}

}  // namespace

bool KernelsMayOverlap() {
  // All kernels are compiled for the same devices: what holds for one holds for the others.
  static const bool may_overlap = [] {
    cudaFuncAttributes attributes = {};
    return cudaFuncGetAttributes(&attributes, EmptyKernel) == cudaSuccess && attributes.ptxVersion >= 90;
  }();
  return may_overlap;
}

}  // namespace quire
