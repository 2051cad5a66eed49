// Weights on the device of the tests.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/packed_matrix.h"
#include "tests/kernels/random_weights.h"

namespace quire {

inline absl::StatusOr<std::unique_ptr<CudaPackedMatrix>> PackOnDevice(
    std::span<const RawMatrix> parts, bool gated = false, WeightPrecision precision = WeightPrecision::kAsStored) {
  WeightStaging staging(nullptr);
  const auto one_after_another = [](int64_t count, absl::FunctionRef<void(int64_t)> fn) {
    for (int64_t i = 0; i < count; ++i) fn(i);
  };
  return CudaPackedMatrix::Create(parts, gated, precision, staging, one_after_another);
}

inline std::unique_ptr<CudaPackedMatrix> PackOnDevice(const RandomWeights& weights,
                                                      WeightPrecision precision = WeightPrecision::kAsStored) {
  const RawMatrix part = weights.raw();
  return PackOnDevice({&part, 1}, /*gated=*/false, precision).value();
}

inline std::unique_ptr<CudaPackedMatrix> PackGatedOnDevice(const RandomWeights& gate, const RandomWeights& up,
                                                           WeightPrecision precision = WeightPrecision::kAsStored) {
  const RawMatrix parts[] = {gate.raw(), up.raw()};
  return PackOnDevice(parts, /*gated=*/true, precision).value();
}

}  // namespace quire
