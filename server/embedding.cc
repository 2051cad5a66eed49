#include "server/embedding.h"

#include <cmath>

namespace quire {

void Normalize(std::span<float> embedding) {
  double sum_of_squares = 0;
  for (const float value : embedding) sum_of_squares += double{value} * value;
  if (sum_of_squares == 0) return;
  const double scale = 1 / std::sqrt(sum_of_squares);
  for (float& value : embedding) value = static_cast<float>(value * scale);
}

}  // namespace quire
