#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void LaunchHopperMultiply<WeightFormat::kBFloat16>(const MultiplyArgs&, CudaStream);
template bool HasHopperMultiplyFor<WeightFormat::kBFloat16>();

}  // namespace quire
