#include "kernels/cuda/embed.h"

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weight_fragments.cuh"

namespace quire {
namespace {

constexpr int kThreads = 256;

// A block for each row of the output; a thread takes every kThreads-th element.
__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const std::byte* panels, WeightLayout layout, int64_t panel_bytes, const int32_t* ids,
                const int32_t* chosen, int cols, float* output, int64_t stride) {
  const int64_t row = blockIdx.x;
  const int32_t id = ids[row] >= 0 ? ids[row] : chosen[~ids[row]];
  const std::byte* const panel = panels + id / kPanelRows * panel_bytes;
  for (int i = static_cast<int>(threadIdx.x); i < cols; i += kThreads) {
    const std::byte* const tile = panel + i / kTileFeatures * layout.tile_bytes();
    output[row * stride + i] = WeightOfTile(layout, tile, id % kPanelRows, i % kTileFeatures);
  }
}

__global__ void __launch_bounds__(kThreads)
    GatherRowsKernel(const float* input, int64_t input_stride, const int32_t* rows, int cols, float* output,
                     int64_t output_stride) {
  const int64_t row = blockIdx.x;
  const float* const from = input + rows[row] * input_stride;
  for (int i = static_cast<int>(threadIdx.x); i < cols; i += kThreads) output[row * output_stride + i] = from[i];
}

LaunchShape BlockForEach(int64_t rows, CudaStream stream) {
  return {.grid = static_cast<unsigned>(rows), .block = kThreads, .stream = stream};
}

}  // namespace

void Embed(const CudaPackedMatrix& table, const int32_t* ids, const int32_t* chosen, MatrixView<float> output,
           CudaStream stream) {
  QUIRE_CHECK(table.segments().size() == 1 && !table.gated() && output.cols == table.cols());
  if (output.rows == 0) return;
  const WeightSegment& segment = table.segments()[0];
  QUIRE_CHECK(!LayoutOf(segment.format).is_float8);
  // What fails is kept for cudaGetLastError; so below.
  Launch(EmbedKernel, BlockForEach(output.rows, stream), segment.memory.data(), LayoutOf(segment.format),
         PanelBytesOf(segment.format, table.cols()), ids, chosen, static_cast<int>(output.cols), output.data,
         output.stride);
}

void GatherRows(MatrixView<const float> input, const int32_t* rows, MatrixView<float> output, CudaStream stream) {
  QUIRE_CHECK(input.cols == output.cols);
  if (output.rows == 0) return;
  Launch(GatherRowsKernel, BlockForEach(output.rows, stream), input.data, input.stride, rows,
         static_cast<int>(output.cols), output.data, output.stride);
}

}  // namespace quire
