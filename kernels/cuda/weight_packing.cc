#include "kernels/cuda/weight_packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/affine_groups.h"
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/dequantize.h"
#include "kernels/float16.h"
#include "kernels/float8.h"

namespace quire {
namespace {

struct SourceRow {
  DType dtype = DType::kF32;
  const std::byte* bytes = nullptr;  // nullptr: a row that only fills a panel.
};

SourceRow RowOf(const RawMatrix& matrix, int64_t row) {
  if (row >= matrix.rows) return {};
  return {matrix.dtype, matrix.bytes.data() + row * (static_cast<int64_t>(matrix.bytes.size()) / matrix.rows)};
}

SourceRow RowOf(const PanelSource& source, int64_t panel, int channel) {
  if (source.gated) return RowOf(source.parts[panel % 2], panel / 2 * kPanelRows + channel);
  int64_t row = panel * kPanelRows + channel;
  for (const RawMatrix& part : source.parts) {
    if (row < part.rows) return RowOf(part, row);
    row -= part.rows;
  }
  return {};
}

void StoreScale(const WeightLayout& layout, float value, std::byte* at) {
  if (layout.scale_bytes == 2) {
    const uint16_t bits = ToFloat16(value);
    std::memcpy(at, &bits, sizeof(bits));
  } else {
    std::memcpy(at, &value, sizeof(value));
  }
}

// The weights of one group, whose first feature is `feature` of the tile.
void PackGroup(const WeightLayout& layout, const AffineGroup& group, int channel, int feature, std::byte* tile) {
  for (int part = 0; part < layout.scales_per_group; ++part) {
    std::byte* const at = tile + layout.ScaleByte(channel, feature + part * 16);
    StoreScale(layout, group.scales[part], at);
    if (layout.has_offset) StoreScale(layout, group.offset, at + 2 * layout.scale_bytes);
  }
  for (int i = 0; i < kGroupSize; ++i) {
    const int bit = layout.CodeBit(channel, feature + i);
    tile[bit / 8] |= static_cast<std::byte>(group.codes[i] << bit % 8);
  }
}

void PackQuantizedRow(const WeightLayout& layout, const SourceRow& row, int64_t cols, int channel, std::byte* panel) {
  for (int64_t begin = 0; begin < cols; begin += kGroupSize) {
    AffineGroup group;
    DecodeGroup(row.dtype, row.bytes, begin / kGroupSize, group);
    std::byte* const tile = panel + begin / kTileFeatures * layout.tile_bytes();
    PackGroup(layout, group, channel, static_cast<int>(begin % kTileFeatures), tile);
  }
}

void PackBFloat16Row(const WeightLayout& layout, std::span<const float> values, int channel, std::byte* panel) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = ToBFloat16(values[i]);
    const int bit = layout.CodeBit(channel, static_cast<int>(i % kTileFeatures));
    std::memcpy(panel + i / kTileFeatures * layout.tile_bytes() + bit / 8, &bits, sizeof(bits));
  }
}

// Returns the row's scale.
float PackFloat8Row(std::span<const float> values, int channel, std::byte* panel) {
  constexpr WeightLayout kLayout = LayoutOf(WeightFormat::kFloat8);
  float peak = 0;
  bool is_finite = true;
  for (const float value : values) {
    is_finite &= std::isfinite(value);
    peak = std::max(peak, std::abs(value));
  }
  const Float8Scale scale = Float8ScaleOf(is_finite ? peak : NAN);
  for (size_t i = 0; i < values.size(); ++i) {
    const int at = kLayout.CodeBit(channel, static_cast<int>(i % kTileFeatures)) / 8;
    panel[i / kTileFeatures * kLayout.tile_bytes() + at] = static_cast<std::byte>(ToFloat8(values[i] * scale.inverse));
  }
  return scale.scale;
}

}  // namespace

int64_t PanelSource::num_panels() const {
  if (gated) return 2 * PanelsOf(parts[0].rows);
  int64_t rows = 0;
  for (const RawMatrix& part : parts) rows += part.rows;
  return PanelsOf(rows);
}

void PackPanel(const PanelSource& source, WeightFormat format, int64_t panel, std::byte* out, float* scales) {
  const WeightLayout layout = LayoutOf(format);
  const int64_t cols = source.cols();
  std::memset(out, 0, PanelBytesOf(format, cols));
  if (layout.is_float8) std::fill_n(scales, kPanelRows, 0.0f);
  std::vector<float> values;
  for (int channel = 0; channel < kPanelRows; ++channel) {
    const SourceRow row = RowOf(source, panel, channel);
    if (row.bytes == nullptr) continue;
    if (layout.scales_per_group > 0) {
      QUIRE_CHECK(WeightFormatOf(row.dtype) == format);
      PackQuantizedRow(layout, row, cols, channel, out);
      continue;
    }
    values.resize(cols);
    DequantizeRow(row.dtype, row.bytes, values);
    if (layout.is_float8) {
      scales[channel] = PackFloat8Row(values, channel, out);
    } else {
      PackBFloat16Row(layout, values, channel, out);
    }
  }
}

}  // namespace quire
