// Non-owning views that cross the Ops interface. A view says where data lies, never who owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "kernels/dtype.h"

namespace quire {

// Row-major [rows, cols]; consecutive rows are `stride` elements apart.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  T* Row(int64_t row) const { return data + row * stride; }
  // A template, because nvcc warns of a conversion to the type itself where T is const.
  template <typename ReadOnly>
    requires(!std::is_const_v<T> && std::is_same_v<ReadOnly, const T>)
  operator MatrixView<ReadOnly>() const {
    return {data, rows, cols, stride};
  }
};

// A weight matrix as a model file stores it: `rows` output features of `cols` input features each, row-major, every row a
// whole number of `dtype` blocks. `bytes.size()` equals rows * cols / block_elements * block_bytes.
struct RawMatrix {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  std::span<const std::byte> bytes;
};

}  // namespace quire
