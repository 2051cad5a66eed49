// Weights as floats, exactly as the model file means them. For loading, tests and tools; kernels read packed weights
// instead.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/dtype.h"

namespace quire {

// Fills `out` from the row that starts at `row`. REQUIRES: out.size() is a multiple of the dtype's block_elements, and
// the row has that many elements.
void DequantizeRow(DType dtype, const std::byte* row, std::span<float> out);

}  // namespace quire
