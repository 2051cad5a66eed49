// The one order in which 16 lanes are added to one float. Included after the lanes of an instruction set; local to the
// including file, as they are.
#pragma once

namespace quire {
namespace {

// As a tree: lanes eight apart first, then four, two and one.
inline float SumOfLanes(Lanes::Floats x) {
  float lanes[16];
  Lanes::Store(x, lanes);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace
}  // namespace quire
