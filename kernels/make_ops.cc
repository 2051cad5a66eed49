// Chooses the backend: the only place above kernels/cuda/ that asks whether it was built.
#include "absl/status/status.h"
#include "kernels/ops.h"
#ifdef QUIRE_HAS_CUDA
#include "kernels/cuda/cuda_ops.h"
#endif

namespace quire {

absl::StatusOr<std::unique_ptr<Ops>> MakeOps(const OpsOptions& options) {
#ifdef QUIRE_HAS_CUDA
  if (options.device == Device::kCuda || (options.device == Device::kAuto && HasCudaDevice())) {
    return MakeCudaOps(options.cuda);
  }
#else
  if (options.device == Device::kCuda) {
    return absl::InvalidArgumentError("this build has no CUDA backend: it is built where CMake finds nvcc");
  }
#endif
  return MakeCpuOps(options.cpu);
}

}  // namespace quire
