#include "kernels/cuda/matmul_hopper.cuh"

namespace quire {

template void MultiplyOnHopper<WeightFormat::kBFloat16>(const MultiplyArgs&, MultiplyShape, CudaStream);

bool HasHopperMultiply() {
  constexpr WeightFormat kFormat = WeightFormat::kBFloat16;
  constexpr int kTokens = kHopperTokensPerBlock;
  return HasHopperCode<HopperMultiplyKernel<kFormat, kTokens, 1>>(HopperThreads(kFormat, kTokens));
}

}  // namespace quire
