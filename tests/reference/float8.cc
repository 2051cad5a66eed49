#include "tests/reference/float8.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quire {

float NearestFloat8(float x) {
  const float step = std::abs(x) < 0x1p-6f ? 0x1p-9f : std::ldexp(1.0f, std::ilogb(x) - 3);
  return std::clamp(std::nearbyint(x / step) * step, -448.0f, 448.0f);
}

Float8Numbers RoundToFloat8(std::span<const float> numbers) {
  float peak = 0;
  for (const float x : numbers) peak = std::max(peak, std::abs(x));
  const bool is_finite = std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
  Float8Numbers rounded = {std::vector<float>(numbers.size(), 0.0f), peak / 448};
  if (!is_finite) rounded.scale = std::numeric_limits<float>::quiet_NaN();
  if (!is_finite || peak <= 1e-33f) return rounded;
  std::ranges::transform(numbers, rounded.codes.begin(), [&](float x) { return NearestFloat8(x * (448 / peak)); });
  return rounded;
}

}  // namespace quire
