#include "tests/reference/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/dequantize.h"
#include "tests/reference/float8.h"
#include "tests/reference/reference_kv_cache.h"

namespace quire {
namespace {

class ReferenceMatrix : public PackedMatrix {
 public:
  // In float8: values are codes, and each row has a scale.
  ReferenceMatrix(int64_t cols, std::vector<float> values, std::vector<float> scales)
      : cols_(cols), values_(std::move(values)), scales_(std::move(scales)) {}
  int64_t rows() const override { return static_cast<int64_t>(values_.size()) / cols_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override { return static_cast<int64_t>(values_.size() * sizeof(float)); }
  std::span<const float> Row(int64_t row) const { return std::span(values_).subspan(row * cols_, cols_); }
  bool in_float8() const { return !scales_.empty(); }
  float scale(int64_t row) const { return scales_[row]; }

 private:
  int64_t cols_;
  std::vector<float> values_;
  std::vector<float> scales_;
};

class ReferenceBuffer : public Buffer {
 public:
  explicit ReferenceBuffer(std::vector<float> values) : values_(std::move(values)) {}
  float* data() const override { return values_.data(); }
  int64_t size() const override { return static_cast<int64_t>(values_.size()); }

 private:
  mutable std::vector<float> values_;
};

template <typename T>
std::span<T> RowOf(MatrixView<T> matrix, int64_t row) {
  QUIRE_CHECK(row >= 0 && row < matrix.rows);
  return {matrix.Row(row), static_cast<size_t>(matrix.cols)};
}

std::vector<float> Normalized(std::span<const float> input, const RmsNorm& norm) {
  std::vector<float> output(input.begin(), input.end());
  if (norm.weight.empty()) return output;
  QUIRE_CHECK(norm.weight.size() == input.size());
  double sum = 0;
  for (float x : input) sum += double{x} * x;
  const double scale = 1 / std::sqrt(sum / static_cast<double>(input.size()) + norm.epsilon);
  for (size_t i = 0; i < output.size(); ++i) output[i] = static_cast<float>(output[i] * scale * norm.weight[i]);
  return output;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

double Activate(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

void Rotate(const Rope& rope, int32_t position, std::span<float> head) {
  const size_t n = rope.inverse_frequencies.size();
  QUIRE_CHECK(2 * n <= head.size());
  for (size_t i = 0; i < n; ++i) {
    const double angle = double{rope.inverse_frequencies[i]} * position;
    const bool halves = rope.kind == RopeKind::kHalves;
    float& x = head[halves ? i : 2 * i];
    float& y = head[halves ? i + n : 2 * i + 1];
    const double rotated_x = x * std::cos(angle) - y * std::sin(angle);
    const double rotated_y = x * std::sin(angle) + y * std::cos(angle);
    x = static_cast<float>(rotated_x);
    y = static_cast<float>(rotated_y);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedMatrix>> ReferenceOps::Pack(std::span<const RawMatrix> parts,
                                                                 WeightPrecision precision) {
  if (parts.empty()) return absl::InvalidArgumentError("no matrix to pack");
  std::vector<float> values, scales;
  for (const RawMatrix& part : parts) {
    if (part.cols != parts[0].cols) return absl::InvalidArgumentError("stacked matrices must share cols");
    const DTypeTraits traits = TraitsOf(part.dtype);
    QUIRE_CHECK(part.cols % traits.block_elements == 0);
    const int64_t row_bytes = part.cols / traits.block_elements * traits.block_bytes;
    QUIRE_CHECK(static_cast<int64_t>(part.bytes.size()) == part.rows * row_bytes);
    for (int64_t row = 0; row < part.rows; ++row) {
      values.resize(values.size() + part.cols);
      const std::span<float> packed = std::span(values).last(part.cols);
      DequantizeRow(part.dtype, part.bytes.data() + row * row_bytes, packed);
      if (precision == WeightPrecision::kAsStored) continue;
      const Float8Numbers rounded = RoundToFloat8(packed);
      std::ranges::copy(rounded.codes, packed.begin());
      scales.push_back(rounded.scale);
    }
  }
  return std::make_unique<ReferenceMatrix>(parts[0].cols, std::move(values), std::move(scales));
}

// The gate's rows, then up's: MatMul pairs row n with row n + N/2.
absl::StatusOr<std::unique_ptr<PackedMatrix>> ReferenceOps::PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                                      WeightPrecision precision) {
  if (gate.rows != up.rows) return absl::InvalidArgumentError("gate and up must have as many rows");
  const RawMatrix parts[] = {gate, up};
  return Pack(parts, precision);
}

absl::StatusOr<std::unique_ptr<KvCache>> ReferenceOps::AllocateKvCache(const KvLayout& layout) {
  return std::make_unique<ReferenceKvCache>(layout);
}

absl::StatusOr<std::unique_ptr<Buffer>> ReferenceOps::Allocate(int64_t floats) {
  return std::make_unique<ReferenceBuffer>(std::vector<float>(floats));
}

absl::StatusOr<std::unique_ptr<Buffer>> ReferenceOps::Upload(std::span<const float> values) {
  return std::make_unique<ReferenceBuffer>(std::vector<float>(values.begin(), values.end()));
}

void ReferenceOps::Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) {
  const auto& rows = static_cast<const ReferenceMatrix&>(table);
  QUIRE_CHECK(!rows.in_float8());
  for (size_t t = 0; t < ids.size(); ++t) {
    std::ranges::copy(rows.Row(ids[t]), RowOf(output, t).begin());
  }
}

void ReferenceOps::MatMul(const MatMulArgs& args) {
  const auto& weights = static_cast<const ReferenceMatrix&>(*args.weights);
  const int64_t n = weights.rows();
  const bool gated = args.epilogue == Epilogue::kGate;
  QUIRE_CHECK(args.input.cols == weights.cols());
  QUIRE_CHECK(args.output.rows == args.input.rows && args.output.cols == (gated ? n / 2 : n));
  QUIRE_CHECK(args.bias.empty() || static_cast<int64_t>(args.bias.size()) == n);
  for (int64_t m = 0; m < args.input.rows; ++m) {
    std::vector<float> input = Normalized(RowOf(args.input, m), args.norm);
    Float8Numbers rounded;
    if (weights.in_float8()) {
      rounded = RoundToFloat8(input);
      input = rounded.codes;
    }
    const auto product = [&](int64_t row) {
      const double scale = weights.in_float8() ? double{rounded.scale} * weights.scale(row) : 1;
      return Dot(input, weights.Row(row)) * scale + (args.bias.empty() ? 0.0 : args.bias[row]);
    };
    std::span<float> output = RowOf(args.output, m);
    for (int64_t i = 0; i < args.output.cols; ++i) {
      double y = product(i);
      if (gated) y = Activate(args.activation, y) * product(i + n / 2);
      if (args.epilogue == Epilogue::kAdd) y += output[i];
      output[i] = static_cast<float>(y);
    }
  }
}

void ReferenceOps::RopeAppend(const RopeAppendArgs& args) {
  auto& cache = static_cast<ReferenceKvCache&>(*args.kv_cache);
  const int kv_heads = cache.layout().num_kv_heads;
  const size_t head_dim = cache.layout().head_dim;
  QUIRE_CHECK(args.qkv.rows == args.batch.num_tokens());
  QUIRE_CHECK(args.qkv.cols == static_cast<int64_t>((args.num_heads + 2 * kv_heads) * head_dim));
  for (int t = 0; t < args.batch.num_tokens(); ++t) {
    const auto head = [&](int index) { return RowOf(args.qkv, t).subspan(index * head_dim, head_dim); };
    for (int h = 0; h < args.num_heads + kv_heads; ++h) {
      std::ranges::copy(Normalized(head(h), h < args.num_heads ? args.query_norm : args.key_norm), head(h).begin());
      Rotate(args.rope, args.batch.RotaryPositions()[t], head(h));
    }
    for (int h = 0; h < kv_heads; ++h) {
      cache.Write(args.layer, args.batch.slot_mapping[t], h, head(args.num_heads + h),
                  head(args.num_heads + kv_heads + h));
    }
  }
}

void ReferenceOps::Attention(const AttentionArgs& args) {
  const auto& cache = static_cast<const ReferenceKvCache&>(*args.kv_cache);
  const KvLayout& layout = cache.layout();
  const PagedBatchView& batch = args.batch;
  const size_t head_dim = layout.head_dim;
  QUIRE_CHECK(args.num_heads % layout.num_kv_heads == 0);
  for (int s = 0; s < batch.num_sequences(); ++s) {
    const auto slot = [&](int position) {
      const int page = batch.block_indices[batch.block_indptr[s] + position / layout.page_size];
      return int64_t{page} * layout.page_size + position % layout.page_size;
    };
    for (int t = batch.query_start[s]; t < batch.query_start[s + 1]; ++t) {
      const int end = batch.positions[t] + 1;
      const int begin = args.sliding_window > 0 ? std::max(0, end - args.sliding_window) : 0;
      for (int h = 0; h < args.num_heads; ++h) {
        const int kv_head = h / (args.num_heads / layout.num_kv_heads);
        const std::span<const float> query = RowOf(args.qkv, t).subspan(h * head_dim, head_dim);
        std::vector<double> weights;
        for (int p = begin; p < end; ++p) {
          weights.push_back(args.scale * Dot(query, cache.Key(args.layer, slot(p), kv_head)));
        }
        const double max = *std::ranges::max_element(weights);
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - max);
        std::vector<double> output(head_dim);
        for (int p = begin; p < end; ++p) {
          const std::span<const float> value = cache.Value(args.layer, slot(p), kv_head);
          for (size_t i = 0; i < head_dim; ++i) output[i] += weights[p - begin] * value[i];
        }
        for (size_t i = 0; i < head_dim; ++i) {
          RowOf(args.output, t)[h * head_dim + i] = static_cast<float>(output[i] / sum);
        }
      }
    }
  }
}

void ReferenceOps::GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) {
  for (size_t i = 0; i < rows.size(); ++i) std::ranges::copy(RowOf(input, rows[i]), RowOf(output, i).begin());
}

void ReferenceOps::CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) {
  for (const PageCopy& copy : copies) static_cast<ReferenceKvCache&>(kv_cache).CopyPage(copy);
}

}  // namespace quire
