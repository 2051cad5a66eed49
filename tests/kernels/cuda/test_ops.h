// The backend for tests that run on the emulated device as well as on a real one.
#pragma once

#include <memory>
#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "tests/cuda_shim/control.h"

namespace quire {

inline std::unique_ptr<CudaOps> MakeTestOps(CudaOptions options = {}) {
  const cuda_shim::OrdinaryHeap heap;  // Workers wait in it.
  return CudaOps::Create(std::move(options)).value();
}

}  // namespace quire
