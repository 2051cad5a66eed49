// Ops::Embed and Ops::GatherRows on the device.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/packed_matrix.h"
#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace quire {

// output[t] = row ids[t] of table, dequantised: the very floats of kernels/dequantize.h, but that F32 and F16 have been
// rounded to bfloat16. ids, output.rows of them, are in device memory and in range, or ChosenForRow(r) for chosen[r],
// which is. REQUIRES: table is of one segment as stored and not gated, output.cols == table.cols().
void Embed(const CudaPackedMatrix& table, const int32_t* ids, const int32_t* chosen, MatrixView<float> output,
           CudaStream stream);

// output[i] = input[rows[i]]; rows, output.rows of them, are in device memory and in range. REQUIRES: equal cols.
void GatherRows(MatrixView<const float> input, const int32_t* rows, MatrixView<float> output, CudaStream stream);

}  // namespace quire
