// The first half of MatMul: input rows, normalised where that is asked for, rounded to what the weights are multiplied
// with.
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/ops.h"

namespace quire {

// How the rows lie: one after the other, or as kernels/cuda/matmul_hopper.h reads them.
enum class RowOrder { kPlain, kHopper };

// rows[m] = norm(input row m) in bfloat16 (to nearest even), followed by zeros up to `padded_cols` elements, on the
// device. The norm's sum of squares is added up in an order that depends on input.cols alone. REQUIRES: padded_cols is
// a multiple of 4 and at least input.cols; input.rows > 0.
void PrepareRows(MatrixView<const float> input, const RmsNorm& norm, uint16_t* rows, int64_t padded_cols,
                 RowOrder order, CudaStream stream);

// The same in float8 (kernels/float8.h): rows[m] = codes of norm(input row m), followed by zeros, scales[m] = their
// scale. In a row with a number that is not finite, codes mean nothing.
void PrepareFloat8Rows(MatrixView<const float> input, const RmsNorm& norm, uint8_t* rows, float* scales,
                       int64_t padded_cols, RowOrder order, CudaStream stream);

}  // namespace quire
