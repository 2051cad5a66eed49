#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void LaunchHopperMultiply<WeightFormat::k4Bit>(const MultiplyArgs&, CudaStream);
template void LaunchHopperMultiply<WeightFormat::k4BitOffset>(const MultiplyArgs&, CudaStream);
template void LaunchHopperMultiply<WeightFormat::k4BitFloatOffset>(const MultiplyArgs&, CudaStream);

}  // namespace quire
