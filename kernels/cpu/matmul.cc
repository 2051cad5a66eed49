#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/check.h"

namespace quire {
namespace {

// Up to so many floats in up to a tile of rows, every worker prepares all of them for itself: cheaper than to share the
// work and wait for it.
constexpr int64_t kMaxRedundantFloats = 2048;
// With fewer chunks than that for each worker, their preparation is cut up, so that shares come out even.
constexpr int64_t kChunksPerWorker = 4;
// With fewer panels than that for each worker, chunks are cut, for the same reason.
constexpr int64_t kUnitsPerWorker = 8;

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

void Check(const MatMulArgs& args, const CpuPackedMatrix& weights) {
  const bool gated = args.epilogue == Epilogue::kGate;
  QUIRE_CHECK(weights.gated() == gated);
  QUIRE_CHECK(args.input.cols == weights.cols());
  QUIRE_CHECK(args.output.rows == args.input.rows);
  QUIRE_CHECK(args.output.cols == (gated ? weights.rows() / 2 : weights.rows()));
  QUIRE_CHECK(args.bias.empty() || static_cast<int64_t>(args.bias.size()) == weights.rows());
  QUIRE_CHECK(args.norm.weight.empty() || static_cast<int64_t>(args.norm.weight.size()) == weights.cols());
}

void AddBias(const float* bias, int rows, int channels, PanelProducts& products) {
  for (int row = 0; row < rows; ++row) {
    for (int channel = 0; channel < channels; ++channel) products.rows[row][channel] += bias[channel];
  }
}

// Writes a block of products to the output, rows [first_row, first_row + rows), or adds them to it.
void StoreBlock(const MatMulArgs& args, const MatMulKernels& kernels, const PanelProducts& products, int64_t first_row,
                int rows, int64_t first_channel, int channels) {
  const bool add = args.epilogue == Epilogue::kAdd;
  float* output = args.output.Row(first_row) + first_channel;
  if (channels == kPanelChannels)
    return (add ? kernels.add : kernels.store)(products, rows, output, args.output.stride);
  for (int row = 0; row < rows; ++row, output += args.output.stride) {
    for (int channel = 0; channel < channels; ++channel) {
      const float value = products.rows[row][channel];
      output[channel] = add ? output[channel] + value : value;
    }
  }
}

void ClearRow(ActivationGroup& group, int row) {
  std::memset(group.codes[row], 0, sizeof(group.codes[row]));
  group.scales[row] = group.scaled_sums[row] = 0;
  group.negated_sums[row] = group.negated_half_sums[row] = 0;
}

// How many rows of a chunk are filled in, the last with zeros (see MatMulKernels::multiply).
int PaddedRows(int rows) {
  const int in_last = (rows - 1) % kBlockRows + 1;
  return rows - in_last + (in_last <= 4 ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(in_last))) : kBlockRows);
}

}  // namespace

struct MatMulRunner::Plan {
  Plan(const MatMulArgs& matmul_args, const MatMulKernels& kernels, int num_workers)
      : args(matmul_args), weights(static_cast<const CpuPackedMatrix&>(*args.weights)), workers(num_workers) {
    Check(args, weights);
    cols = weights.cols();
    for (const PackedPart& part : weights.parts()) units += part.num_panels;
    if (weights.gated()) units /= 2;

    tiles = DivideUp(args.input.rows, kTileRows);
    redundant = tiles == 1 && args.input.rows * cols <= kMaxRedundantFloats;
    const int64_t for_balance = units < kUnitsPerWorker * workers ? kUnitsPerWorker * workers / units : 1;
    chunk_tiles = std::clamp<int64_t>(tiles / for_balance, 1, kernels.max_chunk_rows / kTileRows);
    chunks = DivideUp(tiles, chunk_tiles);
    if (!redundant && chunks < kChunksPerWorker * workers) {
      // Each part goes over whole rows for their norms, so there should not be many more of them than are needed.
      parts = std::min(workers / std::gcd(chunks, workers), 2 * DivideUp(workers, chunks));
    }

    // Of scratch memory, each piece beginning at a multiple of 64.
    groups = weights.needs_quantized_input() ? cols / kGroupSize : 0;
    const int64_t copies = redundant ? workers : 1;
    const auto allot = [this](int64_t size) { return std::exchange(bytes, bytes + DivideUp(size, 64) * 64); };
    groups_at = allot(copies * chunks * chunk_blocks() * groups * sizeof(ActivationGroup));
    counts_at = allot(copies * chunks * groups * sizeof(ResidualCount));
    residuals_at = allot(copies * chunks * groups * chunk_blocks() * sizeof(ResidualGroup));
    kernels_at = allot(workers * kernel_bytes());
    floats_at = allot(weights.needs_float_input() ? copies * tiles * kTileRows * cols * sizeof(float) : 0);
    rows_at = allot(workers * row_bytes());
  }

  int64_t chunk_rows() const { return chunk_tiles * kTileRows; }
  int64_t chunk_blocks() const { return DivideUp(chunk_rows(), kBlockRows); }
  // Of the scratch memory of a worker's kernels.
  int64_t kernel_bytes() const { return groups * kGroupSize * kPanelChannels; }
  int64_t row_bytes() const { return DivideUp(cols * sizeof(float), 64) * 64; }
  int RowsFrom(int64_t first_row, int64_t most) const {
    return static_cast<int>(std::min(most, args.input.rows - first_row));
  }

  const MatMulArgs& args;
  const CpuPackedMatrix& weights;
  int64_t cols = 0;
  int64_t workers;
  int64_t units = 0;       // Of panels in one chunk's rows; a gate and its up-projection are one.
  int64_t tiles = 0;       // Of kTileRows input rows.
  bool redundant = false;  // Every worker has its own copy of the (one) tile.
  int64_t parts = 1;       // That the preparation of a chunk is cut into, by columns.
  int64_t chunk_tiles = 1;
  int64_t chunks = 1;  // Of tiles.
  int64_t groups = 0;  // Of features of quantised rows.

  // Where things lie in scratch memory, and how much there is of it.
  int64_t bytes = 0;
  int64_t groups_at, counts_at, residuals_at, kernels_at, floats_at, rows_at;
};

const MatMulKernels& MatMulKernelsFor(InstructionSet instruction_set) {
#if defined(__x86_64__)
  if (instruction_set == InstructionSet::kAvx2) return kAvx2MatMulKernels;
  if (instruction_set == InstructionSet::kAvx2Vnni) return kAvx2VnniMatMulKernels;
  if (instruction_set == InstructionSet::kAmx) return kAmxMatMulKernels;
  if (instruction_set >= InstructionSet::kAvx512Vnni) return kAvx512MatMulKernels;
#endif
  QUIRE_CHECK(instruction_set == InstructionSet::kPortable);
  return kPortableMatMulKernels;
}

void MatMulRunner::Run(const MatMulArgs& args, WorkerPool& pool) {
  if (args.input.rows == 0) return;
  const Plan plan(args, kernels_, pool.size());
  Reserve(plan);
  shares_.Reset(plan.chunks * plan.units);
  pool.Run([&](int worker) {
    if (plan.redundant) {
      PreparePart(plan, worker, 0, 0);
    } else {
      const int64_t units = plan.chunks * plan.parts;
      const int64_t end = units * (worker + 1) / plan.workers;
      for (int64_t unit = units * worker / plan.workers; unit < end; ++unit) {
        PreparePart(plan, worker, unit / plan.parts, unit % plan.parts);
      }
      pool.Barrier();
    }
    for (int64_t unit; (unit = shares_.Next(worker)) >= 0;) MultiplyUnit(plan, worker, unit);
  });
}

void MatMulRunner::Reserve(const Plan& plan) {
  if (plan.bytes <= static_cast<int64_t>(scratch_.size())) return;
  absl::StatusOr<AlignedMemory> memory = AlignedMemory::Allocate(plan.bytes);
  QUIRE_CHECK(memory.ok());
  scratch_ = *std::move(memory);
}

ActivationChunk MatMulRunner::Chunk(const Plan& plan, int worker, int64_t chunk) const {
  const int64_t copy = plan.redundant ? worker : chunk;
  const int64_t tile = plan.redundant ? worker : chunk * plan.chunk_tiles;
  std::byte* const scratch = scratch_.data();
  ActivationChunk activations;
  activations.rows = plan.RowsFrom(chunk * plan.chunk_rows(), plan.chunk_rows());
  const int64_t groups = copy * plan.groups, blocks = groups * plan.chunk_blocks();
  activations.groups = reinterpret_cast<ActivationGroup*>(scratch + plan.groups_at) + blocks;
  activations.residuals = {.counts = reinterpret_cast<ResidualCount*>(scratch + plan.counts_at) + groups,
                           .blocks = reinterpret_cast<ResidualGroup*>(scratch + plan.residuals_at) + blocks,
                           .num_blocks = plan.chunk_blocks()};
  activations.scratch = scratch + plan.kernels_at + worker * plan.kernel_bytes();
  activations.floats = reinterpret_cast<float*>(scratch + plan.floats_at) + tile * kTileRows * plan.cols;
  return activations;
}

void MatMulRunner::PreparePart(const Plan& plan, int worker, int64_t chunk, int64_t part) {
  const int64_t begin = plan.groups * part / plan.parts, end = plan.groups * (part + 1) / plan.parts;
  const int64_t begin_col = plan.cols * part / plan.parts, end_col = plan.cols * (part + 1) / plan.parts;
  const ActivationChunk activations = Chunk(plan, worker, chunk);
  for (int row = 0; row < PaddedRows(activations.rows); ++row) {
    // Null: zeros.
    const float* const input = row < activations.rows ? Input(plan, worker, chunk * plan.chunk_rows() + row) : nullptr;
    if (plan.weights.needs_quantized_input()) {
      auto* const block = const_cast<ActivationGroup*>(activations.groups) + row / kBlockRows * plan.groups;
      if (input != nullptr) {
        kernels_.quantize(input, plan.cols, begin, end, row, block, activations.residuals);
      } else {
        for (int64_t i = begin; i < end; ++i) ClearRow(block[i], row % kBlockRows);
      }
    }
    if (plan.weights.needs_float_input() && row < DivideUp(activations.rows, kTileRows) * kTileRows) {
      auto* const floats =
          const_cast<float*>(activations.floats) + row / kTileRows * kTileRows * plan.cols + row % kTileRows;
      for (int64_t col = begin_col; col < end_col; ++col) {
        floats[col * kTileRows] = input != nullptr ? input[col] : 0;
      }
    }
  }
}

const float* MatMulRunner::Input(const Plan& plan, int worker, int64_t row) {
  const float* const input = plan.args.input.Row(row);
  const RmsNorm& norm = plan.args.norm;
  if (norm.weight.empty()) return input;
  auto* const normalized = reinterpret_cast<float*>(scratch_.data() + plan.rows_at + worker * plan.row_bytes());
  kernels_.normalize(input, norm.weight.data(), norm.epsilon, plan.cols, normalized);
  return normalized;
}

void MatMulRunner::MultiplyUnit(const Plan& plan, int worker, int64_t unit) const {
  const int64_t chunk = unit / plan.units;
  const int64_t first_row = chunk * plan.chunk_rows();
  const ActivationChunk activations = Chunk(plan, worker, chunk);
  unit %= plan.units;
  if (plan.weights.gated()) return MultiplyGatedPanel(plan, unit, first_row, activations);
  const PackedPart* part = plan.weights.parts().data();
  int64_t first_channel = 0;
  for (; unit >= part->num_panels; ++part) {
    unit -= part->num_panels;
    first_channel += part->rows;
  }
  MultiplyPanel(plan, *part, unit, first_channel, first_row, activations);
}

void MatMulRunner::Multiply(const PackedPart& part, int64_t panel, int64_t cols, const ActivationChunk& activations,
                            PanelProducts& products) const {
  // Processors' own prefetching stops at every page and starts slowly.
  const std::byte* next = panel + 1 < part.num_panels ? part.Panel(panel + 1) : nullptr;
  kernels_.multiply[static_cast<int>(part.dtype)](part.Panel(panel), next, cols, activations, products);
}

void MatMulRunner::MultiplyPanel(const Plan& plan, const PackedPart& part, int64_t panel, int64_t first_channel,
                                 int64_t first_row, const ActivationChunk& activations) const {
  PanelProducts products;
  Multiply(part, panel, plan.cols, activations, products);
  const int64_t first = panel * kPanelChannels;
  const int channels = static_cast<int>(std::min<int64_t>(kPanelChannels, part.rows - first));
  if (!plan.args.bias.empty()) {
    AddBias(plan.args.bias.data() + first_channel + first, activations.rows, channels, products);
  }
  StoreBlock(plan.args, kernels_, products, first_row, activations.rows, first_channel + first, channels);
}

void MatMulRunner::MultiplyGatedPanel(const Plan& plan, int64_t panel, int64_t first_row,
                                      const ActivationChunk& activations) const {
  const int64_t first = panel * kPanelChannels;
  const int64_t outputs = plan.args.output.cols;
  const int channels = static_cast<int>(std::min<int64_t>(kPanelChannels, outputs - first));
  const std::span<const PackedPart> parts = plan.weights.parts();
  PanelProducts products[2];
  for (int i = 0; i < 2; ++i) Multiply(parts[i], panel, plan.cols, activations, products[i]);
  if (!plan.args.bias.empty()) {
    for (int i = 0; i < 2; ++i) {
      AddBias(plan.args.bias.data() + i * outputs + first, activations.rows, channels, products[i]);
    }
  }
  const auto gate = plan.args.activation == Activation::kSilu ? kernels_.silu_gate : kernels_.gelu_gate;
  for (int row = 0; row < activations.rows; ++row) gate(products[0].rows[row], products[1].rows[row]);
  StoreBlock(plan.args, kernels_, products[0], first_row, activations.rows, first, channels);
}

}  // namespace quire
