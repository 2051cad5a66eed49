#include "kernels/cpu/kv_rotation.h"

#include <cstddef>

namespace quire {

void RotateKey(std::span<float> key) {
  const size_t part = RotatedPart(static_cast<int>(key.size()));
  for (size_t stride = 1; stride < part; stride *= 2) {
    for (size_t begin = 0; begin < key.size(); begin += 2 * stride) {
      for (size_t i = begin; i < begin + stride; ++i) {
        const float x = key[i], y = key[i + stride];
        key[i] = x + y;
        key[i + stride] = x - y;
      }
    }
  }
}

}  // namespace quire
