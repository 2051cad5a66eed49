#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/check.h"

namespace quire {
namespace {

// Up to so many rows, every worker prepares all of them for itself: cheaper than to share the work and wait for it.
constexpr int64_t kMaxRedundantRows = 4;
// Activations that a worker goes through for each panel; they should stay in its second-level cache.
constexpr int64_t kChunkBytes = 400 << 10;
// With fewer panels than that for each worker, rows are divided as well, so that shares come out even.
constexpr int64_t kUnitsPerWorker = 8;

const MatMulKernels& KernelsFor(InstructionSet instruction_set) {
#if defined(__x86_64__)
  if (instruction_set == InstructionSet::kAvx2) return kAvx2MatMulKernels;
  if (instruction_set == InstructionSet::kAvx512Vnni) return kAvx512MatMulKernels;
#endif
  QUIRE_CHECK(instruction_set == InstructionSet::kPortable);
  return kPortableMatMulKernels;
}

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

// Writes or adds a block of products to rows [first_row, first_row + rows) of the output.
void StoreBlock(const MatMulArgs& args, const PanelProducts& products, int64_t first_row, int rows,
                int64_t first_channel, int channels) {
  for (int row = 0; row < rows; ++row) {
    float* output = args.output.Row(first_row + row) + first_channel;
    const float* values = products.rows[row];
    if (args.epilogue == Epilogue::kAdd) {
      for (int channel = 0; channel < channels; ++channel) output[channel] += values[channel];
    } else {
      std::copy_n(values, channels, output);
    }
  }
}

int Log2Rows(int rows) { return std::bit_width(static_cast<unsigned>(rows - 1)); }

// Rows that only fill a tile up to a number that there is a kernel for are multiplied as well.
void ClearRow(ActivationGroup* groups, int64_t num_groups, int row) {
  for (ActivationGroup* group = groups; group != groups + num_groups; ++group) {
    std::memset(group->coarse[row], 0, sizeof(group->coarse[row]));
    std::memset(group->fine[row], 0, sizeof(group->fine[row]));
    group->scales[row] = group->scaled_sums[row] = 0;
    group->negated_sums[row] = group->negated_half_sums[row] = 0;
  }
}

}  // namespace

struct MatMulRunner::Plan {
  Plan(const MatMulArgs& matmul_args, int num_workers)
      : args(matmul_args), weights(static_cast<const CpuPackedMatrix&>(*args.weights)), workers(num_workers) {
    Check(args, weights);
    const int64_t cols = weights.cols();
    tiles = (args.input.rows + kTileRows - 1) / kTileRows;
    redundant = args.input.rows <= kMaxRedundantRows;
    stored_tiles = redundant ? workers : tiles;
    group_bytes = weights.needs_quantized_input() ? cols / kGroupSize * sizeof(ActivationGroup) : 0;
    tile_bytes = group_bytes + (weights.needs_float_input() ? cols * kTileRows * sizeof(float) : 0);
    row_bytes = (cols * sizeof(float) + 63) / 64 * 64;

    for (const PackedPart& part : weights.parts()) panels += part.num_panels;
    if (weights.gated()) panels /= 2;
    const int64_t for_cache = (tiles * tile_bytes + kChunkBytes - 1) / kChunkBytes;
    const int64_t for_balance = panels < kUnitsPerWorker * workers ? kUnitsPerWorker * workers / panels : 1;
    chunks = std::clamp(std::max(for_cache, for_balance), int64_t{1}, std::max(tiles, int64_t{1}));
  }

  int RowsInTile(int64_t tile) const {
    return static_cast<int>(std::min<int64_t>(kTileRows, args.input.rows - tile * kTileRows));
  }

  const MatMulArgs& args;
  const CpuPackedMatrix& weights;
  int workers;
  int64_t tiles;   // Of kTileRows input rows.
  bool redundant;  // Every worker has its own copy of the (one) tile.
  int64_t stored_tiles;
  size_t group_bytes;  // Of a tile: its quantised part, which the floats follow.
  size_t tile_bytes;
  size_t row_bytes;
  int64_t panels = 0;  // Of output channels; of pairs where gated.
  int64_t chunks;      // Runs of tiles; a chunk and a panel are one unit of work.
};

MatMulRunner::MatMulRunner(InstructionSet instruction_set) : kernels_(KernelsFor(instruction_set)) {}

void MatMulRunner::Run(const MatMulArgs& args, WorkerPool& pool) {
  const Plan plan(args, pool.size());
  const int64_t rows = args.input.rows;
  if (rows == 0) return;
  Reserve(plan);
  pool.Run([&](int worker) {
    if (plan.redundant) {
      PrepareRows(plan, worker, 0, rows, worker);
    } else {
      PrepareRows(plan, worker, rows * worker / plan.workers, rows * (worker + 1) / plan.workers, 0);
      pool.Barrier();
    }
    MultiplyShare(plan, worker);
  });
}

void MatMulRunner::Reserve(const Plan& plan) {
  const size_t bytes = plan.stored_tiles * plan.tile_bytes + plan.workers * plan.row_bytes;
  if (bytes <= scratch_.size()) return;
  absl::StatusOr<AlignedMemory> memory = AlignedMemory::Allocate(bytes);
  QUIRE_CHECK(memory.ok());
  scratch_ = *std::move(memory);
  // Float rows that pad a tile are read too; what they hold shows nowhere.
  std::memset(scratch_.data(), 0, scratch_.size());
}

void MatMulRunner::PrepareRows(const Plan& plan, int worker, int64_t begin, int64_t end, int64_t first_tile) {
  const int64_t cols = plan.weights.cols();
  const RmsNorm& norm = plan.args.norm;
  for (int64_t row = begin; row < end; ++row) {
    const float* input = plan.args.input.Row(row);
    if (!norm.weight.empty()) {
      float* normalized = RowBuffer(plan, worker);
      kernels_.normalize(input, norm.weight.data(), norm.epsilon, cols, normalized);
      input = normalized;
    }
    const int64_t tile = first_tile + row / kTileRows;
    const int row_in_tile = static_cast<int>(row % kTileRows);
    if (plan.weights.needs_quantized_input()) {
      kernels_.quantize(input, cols, row_in_tile, TileGroups(plan, tile));
    }
    if (plan.weights.needs_float_input()) {
      float* floats = TileFloats(plan, tile);
      for (int64_t col = 0; col < cols; ++col) floats[col * kTileRows + row_in_tile] = input[col];
    }
  }
  if (end == plan.args.input.rows && plan.weights.needs_quantized_input()) {
    const int64_t last_tile = first_tile + (end - 1) / kTileRows;
    const int rows = plan.RowsInTile((end - 1) / kTileRows);
    for (int row = rows; row < 1 << Log2Rows(rows); ++row) {
      ClearRow(TileGroups(plan, last_tile), cols / kGroupSize, row);
    }
  }
}

void MatMulRunner::MultiplyShare(const Plan& plan, int worker) const {
  const int64_t units = plan.chunks * plan.panels;
  const int64_t end = units * (worker + 1) / plan.workers;
  for (int64_t unit = units * worker / plan.workers; unit < end; ++unit) {
    const int64_t chunk = unit / plan.panels;
    int64_t panel = unit % plan.panels;
    const PackedPart* part = plan.weights.parts().data();
    int64_t first_channel = 0;
    if (!plan.weights.gated()) {
      for (; panel >= part->num_panels; ++part) {
        panel -= part->num_panels;
        first_channel += part->rows;
      }
    }
    const int64_t end_tile = plan.tiles * (chunk + 1) / plan.chunks;
    for (int64_t tile = plan.tiles * chunk / plan.chunks; tile < end_tile; ++tile) {
      const int64_t stored_tile = plan.redundant ? worker : tile;
      const ActivationTile activations = {TileGroups(plan, stored_tile), TileFloats(plan, stored_tile)};
      if (plan.weights.gated()) {
        MultiplyGatedPanel(plan, panel, tile, activations);
      } else {
        MultiplyPanel(plan, *part, panel, first_channel, tile, activations);
      }
    }
  }
}

void MatMulRunner::MultiplyPanel(const Plan& plan, const PackedPart& part, int64_t panel, int64_t first_channel,
                                 int64_t tile, const ActivationTile& activations) const {
  const int rows = plan.RowsInTile(tile);
  const int64_t first = panel * kPanelChannels;
  const int channels = static_cast<int>(std::min<int64_t>(kPanelChannels, part.rows - first));
  PanelProducts products;
  kernels_.multiply[static_cast<int>(part.dtype)][Log2Rows(rows)](part.Panel(panel), plan.weights.cols(), activations,
                                                                  products);
  if (!plan.args.bias.empty()) AddBias(plan.args.bias.data() + first_channel + first, rows, channels, products);
  StoreBlock(plan.args, products, tile * kTileRows, rows, first_channel + first, channels);
}

void MatMulRunner::MultiplyGatedPanel(const Plan& plan, int64_t panel, int64_t tile,
                                      const ActivationTile& activations) const {
  const int rows = plan.RowsInTile(tile);
  const int64_t first = panel * kPanelChannels;
  const int64_t outputs = plan.args.output.cols;
  const int channels = static_cast<int>(std::min<int64_t>(kPanelChannels, outputs - first));
  PanelProducts products[2];
  for (int i = 0; i < 2; ++i) {
    const PackedPart& part = plan.weights.parts()[i];
    kernels_.multiply[static_cast<int>(part.dtype)][Log2Rows(rows)](part.Panel(panel), plan.weights.cols(), activations,
                                                                    products[i]);
    if (!plan.args.bias.empty()) AddBias(plan.args.bias.data() + i * outputs + first, rows, channels, products[i]);
  }
  const auto gate = plan.args.activation == Activation::kSilu ? kernels_.silu_gate : kernels_.gelu_gate;
  for (int row = 0; row < rows; ++row) gate(products[0].rows[row], products[1].rows[row]);
  StoreBlock(plan.args, products[0], tile * kTileRows, rows, first, channels);
}

ActivationGroup* MatMulRunner::TileGroups(const Plan& plan, int64_t tile) const {
  return reinterpret_cast<ActivationGroup*>(scratch_.data() + tile * plan.tile_bytes);
}

float* MatMulRunner::TileFloats(const Plan& plan, int64_t tile) const {
  return reinterpret_cast<float*>(scratch_.data() + tile * plan.tile_bytes + plan.group_bytes);
}

float* MatMulRunner::RowBuffer(const Plan& plan, int worker) const {
  return reinterpret_cast<float*>(scratch_.data() + plan.stored_tiles * plan.tile_bytes + worker * plan.row_bytes);
}

}  // namespace quire
