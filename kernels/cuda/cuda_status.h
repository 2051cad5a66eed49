// Errors of the CUDA runtime as statuses.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

#include "absl/status/status.h"

namespace quire {

// OK for cudaSuccess; otherwise the message begins with `what` was being done ("allocate the KV cache"):
//   RESOURCE_EXHAUSTED  memory cannot be had; the message says what to lower
//   UNAVAILABLE         there is no usable device, or it is lost: no later call of this process will succeed
//   INTERNAL            anything else: a bug
absl::Status ToStatus(cudaError_t error, std::string_view what);

// Whether the error is one after which every later call of the process fails, too.
bool LosesDevice(cudaError_t error);

}  // namespace quire
