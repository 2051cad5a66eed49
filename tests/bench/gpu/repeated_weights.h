// Weights of any size, made of one small block of random ones: as good for measuring, and there at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "kernels/tensor_view.h"

namespace quire {

class RepeatedWeights {
 public:
  // A matrix in a model file's format, whose rows are those of a random block over and over. Its bytes live until the
  // next call that needs more of them for the same format and width.
  RawMatrix Matrix(DType dtype, int64_t rows, int64_t cols);

 private:
  std::mt19937 random_{20261124};
  std::map<std::pair<DType, int64_t>, std::vector<std::byte>> bytes_;  // By format and width.
};

}  // namespace quire
