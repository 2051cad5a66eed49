#include "kernels/cuda/matmul_kernel.cuh"

namespace quire {

template void LaunchMultiply<WeightFormat::k4Bit>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void LaunchMultiply<WeightFormat::k4BitOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void LaunchMultiply<WeightFormat::k4BitFloatOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
