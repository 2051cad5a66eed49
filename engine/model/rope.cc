#include "engine/model/rope.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

// Far above any model: a file's claim is refused before anything is as large as it says.
constexpr int kMaxDimensions = 1024;

bool Positive(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

absl::StatusOr<std::vector<float>> InverseFrequencies(const RopeScaling& scaling) {
  if (scaling.dimensions < 2 || scaling.dimensions > kMaxDimensions || scaling.dimensions % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("RoPE must rotate an even number of dimensions, 2 to ",
                                                   kMaxDimensions, ", got ", scaling.dimensions));
  }
  if (!Positive(scaling.base)) {
    return absl::InvalidArgumentError(absl::StrCat("RoPE base must be positive, got ", scaling.base));
  }
  if (!Positive(scaling.linear_factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("RoPE scaling factor must be positive, got ", scaling.linear_factor));
  }
  const size_t num_frequencies = scaling.dimensions / 2;
  if (!scaling.factors.empty() && scaling.factors.size() != num_frequencies) {
    return absl::InvalidArgumentError(absl::StrCat("RoPE factors must be as many as rotated pairs, ", num_frequencies,
                                                   ", got ", scaling.factors.size()));
  }
  std::vector<float> frequencies(num_frequencies);
  for (size_t i = 0; i < num_frequencies; ++i) {
    const double factor = scaling.factors.empty() ? 1.0 : scaling.factors[i];
    if (!Positive(factor)) {
      return absl::InvalidArgumentError(absl::StrCat("RoPE factor ", i, " must be positive, got ", factor));
    }
    const double exponent = -2.0 * static_cast<double>(i) / scaling.dimensions;
    frequencies[i] = static_cast<float>(std::pow(scaling.base, exponent) / (scaling.linear_factor * factor));
  }
  return frequencies;
}

}  // namespace quire
