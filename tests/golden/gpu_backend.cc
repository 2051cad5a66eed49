#include "tests/golden/gpu_backend.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace quire {

absl::StatusOr<std::unique_ptr<Ops>> MakeGpuOps() {
  absl::StatusOr<std::unique_ptr<Ops>> ops = MakeOps({.device = Device::kCuda, .cpu = {}, .cuda = {}});
  if (!ops.ok() && std::getenv("QUIRE_REQUIRE_GPU") != nullptr) ADD_FAILURE() << ops.status();
  return ops;
}

}  // namespace quire
