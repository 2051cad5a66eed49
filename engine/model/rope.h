// The frequencies of rotary position embeddings (arXiv:2104.09864) and the ways in which models stretch them.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

struct RopeScaling {
  int dimensions = 0;  // Leading dimensions of a head that are rotated; even.
  double base = 10000;
  // Position interpolation (arXiv:2306.15595): every angle is divided by this.
  double linear_factor = 1;
  // One divisor for each frequency, or none: "llama3" scaling, computed by whoever made the file.
  std::span<const float> factors;
};

// base^(-2i / dimensions), scaled; dimensions / 2 of them. INVALID_ARGUMENT names what is out of range.
absl::StatusOr<std::vector<float>> InverseFrequencies(const RopeScaling& scaling);

}  // namespace quire
