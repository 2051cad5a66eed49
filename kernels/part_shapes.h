// What Ops::Pack and Ops::PackGated demand of the matrices that they are given.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/tensor_view.h"

namespace quire {

// INVALID_ARGUMENT, and says which matrix, unless the parts stack along rows; with `gated` they are a gate and its
// up-projection, of one shape.
absl::Status CheckPartShapes(std::span<const RawMatrix> parts, bool gated);

}  // namespace quire
