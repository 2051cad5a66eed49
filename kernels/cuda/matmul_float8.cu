#include "kernels/cuda/matmul_kernel.cuh"

namespace quire {

template void LaunchMultiply<WeightFormat::kFloat8>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
