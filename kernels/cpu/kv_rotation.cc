#include "kernels/cpu/kv_rotation.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/kv_block.h"

namespace quire {
namespace {

// Sums of neighbours to the first half of `to`, differences to the second.
void CombineNeighbours(const float* __restrict from, size_t size, float* __restrict to) {
  for (size_t i = 0; i < size / 2; ++i) {
    to[i] = from[2 * i] + from[2 * i + 1];
    to[size / 2 + i] = from[2 * i] - from[2 * i + 1];
  }
}

}  // namespace

// The fast Walsh-Hadamard transform. A step moves each element to where its index, turned right by one bit, says:
// elements whose indices differ in the next bit become neighbours, which makes all steps alike, and vectors of them
// easy; the last step puts everything back in its place.
void RotateKey(std::span<float> key) {
  QUIRE_CHECK(key.size() <= kMaxHeadDim);
  std::array<float, kMaxHeadDim> buffer;
  const size_t part = RotatedPart(static_cast<int>(key.size()));
  for (size_t begin = 0; begin < key.size(); begin += part) {
    float* from = key.data() + begin;
    float* to = buffer.data() + begin;
    for (size_t stride = 1; stride < part; stride *= 2) {
      CombineNeighbours(from, part, to);
      std::swap(from, to);
    }
    if (from != key.data() + begin) std::copy_n(from, part, to);
  }
}

}  // namespace quire
