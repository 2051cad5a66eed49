#include "kernels/cuda/matmul_kernel.cuh"

namespace quire {

template void LaunchMultiply<WeightFormat::k8Bit>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void LaunchMultiply<WeightFormat::k8BitOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void LaunchMultiply<WeightFormat::k8BitFloatOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void LaunchMultiply<WeightFormat::k8BitFloatHalves>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
