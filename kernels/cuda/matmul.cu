#include "kernels/cuda/matmul.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/matmul_hopper.h"
#include "kernels/cuda/matmul_kernel.h"
#include "kernels/cuda/packed_matrix.h"
#include "kernels/cuda/prepare_rows.h"

namespace quire {
namespace {

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

int TokensPerBlock(int64_t num_tokens) {
  int tokens = 8;
  while (tokens < num_tokens && tokens < kMostTokensPerBlock) tokens *= 2;
  return tokens;
}

// The variant of the kernel for `num_tokens`: split where its sums have room.
MultiplyShape ShapeFor(int64_t num_tokens, int64_t num_panels, int num_slices, int64_t most_partial_tiles) {
  const int tokens = TokensPerBlock(num_tokens);
  const int64_t tiles = DivideUp(num_panels, kPanelsPerBlock) * DivideUp(num_tokens, tokens);
  if (num_slices == 1 || tiles * num_slices <= most_partial_tiles) return {tokens, /*serial=*/false};
  return {kMostTokensPerBlock, /*serial=*/true};
}

void Check(const MatMulArgs& args, const CudaPackedMatrix& weights, const MatMulScratch& scratch) {
  const bool gated = args.epilogue == Epilogue::kGate;
  QUIRE_CHECK(weights.gated() == gated);
  QUIRE_CHECK(args.input.cols == weights.cols());
  QUIRE_CHECK(args.output.rows == args.input.rows);
  QUIRE_CHECK(args.output.cols == (gated ? weights.rows() / 2 : weights.rows()));
  QUIRE_CHECK(args.bias.empty() || static_cast<int64_t>(args.bias.size()) == weights.rows());
  QUIRE_CHECK(args.norm.weight.empty() || static_cast<int64_t>(args.norm.weight.size()) == weights.cols());
  QUIRE_CHECK(scratch.HasRoomFor(args.input.rows, args.input.cols));
}

MultiplyArgs ArgsFor(const MatMulArgs& args, const WeightSegment& segment, MatMulScratch& scratch) {
  const bool gated = args.epilogue == Epilogue::kGate;
  MultiplyArgs multiply;
  multiply.panels = segment.memory.data();
  multiply.num_panels = static_cast<int>(segment.num_panels);
  multiply.num_tiles = static_cast<int>(TilesOf(args.input.cols));
  multiply.num_channels = static_cast<int>(segment.num_channels);
  multiply.gated = gated;
  multiply.tokens = scratch.rows();
  multiply.num_tokens = static_cast<int>(args.input.rows);
  if (LayoutOf(segment.format).is_float8) {
    multiply.token_scales = scratch.row_scales();
    multiply.channel_scales = reinterpret_cast<const float*>(segment.scales.data());
  }
  multiply.num_slices = SlicesOf(segment.num_panels, multiply.num_tiles);
  multiply.partial_sums = scratch.partial_sums();
  multiply.tickets = scratch.tickets();
  multiply.epilogue = args.epilogue;
  multiply.activation = args.activation;
  if (!args.bias.empty()) {
    multiply.bias = args.bias.data() + segment.first_channel;
    if (gated) multiply.up_bias = multiply.bias + segment.num_channels;
  }
  multiply.output = args.output.data + segment.first_channel;
  multiply.output_stride = args.output.stride;
  return multiply;
}

absl::Status Grow(DeviceMemory& memory, int64_t bytes) {
  if (bytes <= static_cast<int64_t>(memory.size())) return absl::OkStatus();
  memory = DeviceMemory();
  absl::StatusOr<DeviceMemory> larger = DeviceMemory::Allocate(bytes, "scratch memory of matrix products");
  if (!larger.ok()) return larger.status();
  memory = *std::move(larger);
  return absl::OkStatus();
}

}  // namespace

absl::Status MatMulScratch::Reserve(int64_t max_rows, int64_t max_cols, CudaStream stream, int64_t most_partial_tiles) {
  // What is freed may still be in use.
  if (absl::Status status = ToStatus(cudaStreamSynchronize(stream), "wait for the device"); !status.ok()) {
    return status;
  }
  max_rows = std::max(max_rows_, max_rows);
  max_rows_ = 0;  // If memory cannot be had, there is no room for anything.
  const int64_t row_bytes = TilesOf(max_cols) * kTileFeatures * int64_t{sizeof(uint16_t)};
  if (absl::Status status = Grow(rows_, PaddedHopperTokens(max_rows) * row_bytes); !status.ok()) return status;
  const int64_t scale_bytes = max_rows * int64_t{sizeof(float)};
  if (absl::Status status = Grow(row_scales_, scale_bytes); !status.ok()) return status;
  const int64_t tile_bytes = int64_t{kPanelsPerBlock} * kPanelRows * TokensPerBlock(max_rows) * int64_t{sizeof(float)};
  if (absl::Status status = Grow(partial_sums_, most_partial_tiles * tile_bytes); !status.ok()) return status;
  const int64_t ticket_bytes = most_partial_tiles * int64_t{sizeof(int)};
  if (absl::Status status = Grow(tickets_, ticket_bytes); !status.ok()) return status;
  const cudaError_t error = cudaMemsetAsync(tickets_.data(), 0, ticket_bytes, stream);
  if (error != cudaSuccess) return ToStatus(error, "clear scratch memory");
  max_rows_ = max_rows;
  most_partial_tiles_ = most_partial_tiles;
  return absl::OkStatus();
}

int64_t MatMulScratch::bytes() const {
  return static_cast<int64_t>(rows_.size() + row_scales_.size() + partial_sums_.size() + tickets_.size());
}

bool MatMulScratch::HasRoomFor(int64_t num_rows, int64_t num_cols) const {
  const int64_t bytes = PaddedHopperTokens(num_rows) * TilesOf(num_cols) * kTileFeatures * int64_t{sizeof(uint16_t)};
  return num_rows <= max_rows_ && bytes <= static_cast<int64_t>(rows_.size());
}

void MatMul(const MatMulArgs& args, MatMulScratch& scratch, CudaStream stream) {
  if (args.input.rows == 0) return;
  const auto& weights = static_cast<const CudaPackedMatrix&>(*args.weights);
  Check(args, weights, scratch);
  const int64_t padded_cols = TilesOf(args.input.cols) * kTileFeatures;
  const bool in_float8 = LayoutOf(weights.segments()[0].format).is_float8;  // Then it is the only segment.
  const bool on_hopper = (in_float8 || args.input.rows > kMostTokensPerBlock) && HasHopperMultiply();
  const RowOrder order = on_hopper ? RowOrder::kHopper : RowOrder::kPlain;
  if (in_float8) {
    PrepareFloat8Rows(args.input, args.norm, reinterpret_cast<uint8_t*>(scratch.rows()), scratch.row_scales(),
                      padded_cols, order, stream);
  } else {
    PrepareRows(args.input, args.norm, reinterpret_cast<uint16_t*>(scratch.rows()), padded_cols, order, stream);
  }
  for (const WeightSegment& segment : weights.segments()) {
    const MultiplyArgs multiply = ArgsFor(args, segment, scratch);
    const MultiplyShape shape =
        ShapeFor(args.input.rows, segment.num_panels, multiply.num_slices, scratch.most_partial_tiles());
    WithFormat(segment.format, [&]<WeightFormat kFormat>() {
      if (on_hopper) return MultiplyOnHopper<kFormat>(multiply, shape, stream);
      LaunchMultiply<kFormat>(multiply, shape, stream);
    });
  }
}

}  // namespace quire
