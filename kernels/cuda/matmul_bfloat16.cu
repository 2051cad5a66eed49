#include "kernels/cuda/matmul_kernel.cuh"

namespace quire {

template void LaunchMultiply<WeightFormat::kBFloat16>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
