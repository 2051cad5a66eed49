#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::kBFloat16>(const MultiplyArgs&, CudaStream);

bool HasHopperMultiply() {
  return HasHopperCode<HopperMultiplyKernel<WeightFormat::kBFloat16, 1>>(kHopperThreads);
}

}  // namespace quire
