// Ops::MatMul on the device: rounds the input rows to bfloat16 or, for weights in float8, to that
// (kernels/cuda/prepare_rows.h), multiplies them with each segment of the weights and applies the epilogue
// (kernels/cuda/matmul_kernel.h).
//
// Products of two bfloat16 values, or of two float8 codes, are exact; they are added up in float32, by matrix
// instructions. Against exact arithmetic on unrounded inputs and weights a product is off by up to 2^-8 of its
// magnitude, most of the time far less; in float8 by up to about 2^-3, and by more where a number is less than 2^-15 of
// the largest in its row or channel.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/stream.h"
#include "kernels/ops.h"

namespace quire {

// What MatMul needs besides its arguments. Calls that share one go to one stream.
class MatMulScratch {
 public:
  // Up to so many pairs of slice and tile of the output, slices are blocks of their own, whose sums need memory.
  static constexpr int64_t kMostPartialTiles = 1024;

  // Makes room for inputs of up to `max_rows` rows and `max_cols` columns. It only grows, and waits for the stream: not
  // to be called while the stream is captured. `most_partial_tiles` is for tests. RESOURCE_EXHAUSTED when memory cannot
  // be had.
  absl::Status Reserve(int64_t max_rows, int64_t max_cols, CudaStream stream,
                       int64_t most_partial_tiles = kMostPartialTiles);

  std::byte* rows() { return rows_.data(); }
  float* row_scales() { return reinterpret_cast<float*>(row_scales_.data()); }
  float* partial_sums() { return reinterpret_cast<float*>(partial_sums_.data()); }
  int* tickets() { return reinterpret_cast<int*>(tickets_.data()); }
  int64_t most_partial_tiles() const { return most_partial_tiles_; }
  int64_t bytes() const;
  // Whether inputs of this shape fit.
  bool HasRoomFor(int64_t num_rows, int64_t num_cols) const;

 private:
  DeviceMemory rows_, row_scales_, partial_sums_, tickets_;
  int64_t most_partial_tiles_ = 0;
  int64_t max_rows_ = 0;
};

// All that args refers to is in device memory. The weights, and those of the norm, are not written by kernels: they are
// read before the kernels in front of this on the stream have ended. REQUIRES: args.weights is a CudaPackedMatrix,
// gated if and only if the epilogue is kGate, and the scratch memory has been reserved.
void MatMul(const MatMulArgs& args, MatMulScratch& scratch, CudaStream stream);

}  // namespace quire
