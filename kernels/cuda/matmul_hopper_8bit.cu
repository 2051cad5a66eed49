#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::k8Bit>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitFloatOffset>(const MultiplyArgs&, MultiplyShape, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitFloatHalves>(const MultiplyArgs&, MultiplyShape, CudaStream);

}  // namespace quire
