// The reference's float8 (e4m3), as the format's definition reads.
#pragma once

#include <span>
#include <vector>

namespace quire {

// The nearest number in e4m3, ties to even; what is beyond 448 becomes that.
float NearestFloat8(float x);

// Numbers that share a scale and mean scale * code: 448 is the code of the largest magnitude. Scales are NaN where a
// number is not finite; numbers up to 1e-33 are zeros.
struct Float8Numbers {
  std::vector<float> codes;
  float scale = 0;
};
Float8Numbers RoundToFloat8(std::span<const float> numbers);

}  // namespace quire
