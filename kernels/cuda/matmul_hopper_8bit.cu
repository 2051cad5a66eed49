#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void LaunchHopperMultiply<WeightFormat::k8Bit>(const MultiplyArgs&, CudaStream);
template void LaunchHopperMultiply<WeightFormat::k8BitOffset>(const MultiplyArgs&, CudaStream);
template void LaunchHopperMultiply<WeightFormat::k8BitFloatOffset>(const MultiplyArgs&, CudaStream);
template void LaunchHopperMultiply<WeightFormat::k8BitFloatHalves>(const MultiplyArgs&, CudaStream);

}  // namespace quire
