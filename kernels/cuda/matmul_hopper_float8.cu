#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::kFloat8>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
