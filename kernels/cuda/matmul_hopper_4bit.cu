#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::k4Bit>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void MultiplyOnHopper<WeightFormat::k4BitOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void MultiplyOnHopper<WeightFormat::k4BitFloatOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
