// The CUDA backend, for tests that take it as one more build of the kernels.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "tests/kernels/kv_types.h"

namespace quire {

inline constexpr const char* kGpuBackend = "cuda";
// What K and V may be kept in there.
inline constexpr KvTypes kGpuKv[] = {kBFloat16Kv, kInt8Kv, kFp8Kv};

// An error where this build or this machine has no GPU. Where the environment has QUIRE_REQUIRE_GPU, an error fails the
// test that runs: whoever sets it wants nothing skipped.
absl::StatusOr<std::unique_ptr<Ops>> MakeGpuOps();

}  // namespace quire
