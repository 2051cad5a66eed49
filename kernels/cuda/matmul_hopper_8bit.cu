#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::k8Bit>(const MultiplyArgs&, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitOffset>(const MultiplyArgs&, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitFloatOffset>(const MultiplyArgs&, CudaStream);
template void MultiplyOnHopper<WeightFormat::k8BitFloatHalves>(const MultiplyArgs&, CudaStream);

}  // namespace quire
