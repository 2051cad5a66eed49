#include "kernels/cuda/matmul_hopper.h"

namespace quire {

// Defined in kernels/cuda/matmul_hopper.cuh, for each format.
template <WeightFormat kFormat>
void LaunchHopperMultiply(const MultiplyArgs& args, CudaStream stream);
template <WeightFormat kFormat>
bool HasHopperMultiplyFor();

bool HasHopperMultiply() { return HasHopperMultiplyFor<WeightFormat::kBFloat16>(); }

void MultiplyOnHopper(WeightFormat format, const MultiplyArgs& args, CudaStream stream) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return LaunchHopperMultiply<WeightFormat::kBFloat16>(args, stream);
    case WeightFormat::k4Bit:
      return LaunchHopperMultiply<WeightFormat::k4Bit>(args, stream);
    case WeightFormat::k4BitOffset:
      return LaunchHopperMultiply<WeightFormat::k4BitOffset>(args, stream);
    case WeightFormat::k4BitFloatOffset:
      return LaunchHopperMultiply<WeightFormat::k4BitFloatOffset>(args, stream);
    case WeightFormat::k8Bit:
      return LaunchHopperMultiply<WeightFormat::k8Bit>(args, stream);
    case WeightFormat::k8BitOffset:
      return LaunchHopperMultiply<WeightFormat::k8BitOffset>(args, stream);
    case WeightFormat::k8BitFloatOffset:
      return LaunchHopperMultiply<WeightFormat::k8BitFloatOffset>(args, stream);
    case WeightFormat::k8BitFloatHalves:
      return LaunchHopperMultiply<WeightFormat::k8BitFloatHalves>(args, stream);
  }
}

}  // namespace quire
