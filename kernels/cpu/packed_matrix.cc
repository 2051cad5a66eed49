#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "kernels/affine_groups.h"
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/float16.h"
#include "kernels/part_shapes.h"

namespace quire {
namespace {

const std::byte* RawRow(const RawMatrix& matrix, int64_t row) {
  return matrix.bytes.data() + row * (matrix.bytes.size() / matrix.rows);
}

void StoreScale(const AffineFormat& format, float value, std::byte* scales, int lane) {
  if (format.float16_scales) {
    const uint16_t bits = ToFloat16(value);
    std::memcpy(scales + lane * sizeof(bits), &bits, sizeof(bits));
  } else {
    std::memcpy(scales + lane * sizeof(value), &value, sizeof(value));
  }
}

float LoadScale(const AffineFormat& format, const std::byte* scales, int lane) {
  if (format.float16_scales) {
    uint16_t bits;
    std::memcpy(&bits, scales + lane * sizeof(bits), sizeof(bits));
    return FromFloat16(bits);
  }
  float value;
  std::memcpy(&value, scales + lane * sizeof(value), sizeof(value));
  return value;
}

// The pieces of one group of features of a panel.
template <typename Byte>
struct PanelGroup {
  Byte* scales;   // [scales_per_group][16]
  Byte* offsets;  // [16]
  Byte* codes;
  int64_t vector_bytes;  // From one scales[16] to the next.
};

template <typename Byte>
PanelGroup<Byte> GroupOf(DType dtype, int64_t cols, Byte* panel, int64_t group) {
  const AffineFormat format = AffineFormatOf(dtype);
  const int64_t vector_bytes = kPanelChannels * (format.float16_scales ? 2 : 4);
  Byte* scales = panel + group * (format.scales_per_group + (format.has_offset ? 1 : 0)) * vector_bytes;
  Byte* codes = panel + PanelCodesOffset(dtype, cols) + group * kPanelChannels * kGroupSize * format.code_bits / 8;
  return {scales, scales + format.scales_per_group * vector_bytes, codes, vector_bytes};
}

void PackGroup(const AffineFormat& format, const AffineGroup& group, int lane, const PanelGroup<std::byte>& out) {
  for (int i = 0; i < format.scales_per_group; ++i) {
    StoreScale(format, group.scales[i], out.scales + i * out.vector_bytes, lane);
  }
  if (format.has_offset) StoreScale(format, group.offset, out.offsets, lane);
  uint8_t bytes[kGroupSize];
  const int num_bytes = kGroupSize * format.code_bits / 8;
  for (int i = 0; i < num_bytes; ++i) {
    bytes[i] = format.code_bits == 8 ? group.codes[i] : static_cast<uint8_t>(group.codes[i] | group.codes[i + 16] << 4);
  }
  for (int quad = 0; quad < num_bytes / 4; ++quad) {
    std::memcpy(out.codes + (quad * kPanelChannels + lane) * 4, bytes + 4 * quad, 4);
  }
}

void UnpackGroup(const AffineFormat& format, const PanelGroup<const std::byte>& packed, int lane, float* out) {
  const float offset = format.has_offset ? LoadScale(format, packed.offsets, lane) : 0;
  float scales[2];
  for (int i = 0; i < 2; ++i) {
    scales[i] = LoadScale(format, packed.scales + (i % format.scales_per_group) * packed.vector_bytes, lane);
  }
  for (int i = 0; i < kGroupSize; ++i) {
    const int byte = format.code_bits == 8 ? i : i % 16;
    const int pair = std::to_integer<int>(packed.codes[(byte / 4 * kPanelChannels + lane) * 4 + byte % 4]);
    const int code = format.code_bits == 8 ? pair : (i < 16 ? pair & 15 : pair >> 4);
    const float product = scales[i / 16] * static_cast<float>(code - format.zero_point());
    out[i] = format.has_offset ? product + offset : product;
  }
}

void PackPanel(const RawMatrix& matrix, int64_t panel, std::byte* out) {
  const int64_t first = panel * kPanelChannels;
  const int lanes = static_cast<int>(std::min<int64_t>(kPanelChannels, matrix.rows - first));
  if (lanes < kPanelChannels) std::memset(out, 0, PanelBytes(matrix.dtype, matrix.cols));
  if (!IsQuantized(matrix.dtype)) {
    const int width = TraitsOf(matrix.dtype).block_bytes;
    for (int lane = 0; lane < lanes; ++lane) {
      const std::byte* row = RawRow(matrix, first + lane);
      for (int64_t col = 0; col < matrix.cols; ++col) {
        std::memcpy(out + (col * kPanelChannels + lane) * width, row + col * width, width);
      }
    }
    return;
  }
  const AffineFormat format = AffineFormatOf(matrix.dtype);
  for (int64_t group = 0; group < matrix.cols / kGroupSize; ++group) {
    const PanelGroup<std::byte> packed = GroupOf(matrix.dtype, matrix.cols, out, group);
    for (int lane = 0; lane < lanes; ++lane) {
      AffineGroup values;
      DecodeGroup(matrix.dtype, RawRow(matrix, first + lane), group, values);
      PackGroup(format, values, lane, packed);
    }
  }
}

void UnpackFloats(DType dtype, const std::byte* panel, int64_t cols, int lane, float* out) {
  const int width = TraitsOf(dtype).block_bytes;
  for (int64_t col = 0; col < cols; ++col) {
    const std::byte* value = panel + (col * kPanelChannels + lane) * width;
    uint16_t bits;
    std::memcpy(&bits, value, sizeof(bits));
    if (dtype == DType::kF32) {
      std::memcpy(out + col, value, sizeof(float));
    } else {
      out[col] = dtype == DType::kF16 ? FromFloat16(bits) : FromBFloat16(bits);
    }
  }
}

absl::StatusOr<PackedPart> PackPart(const RawMatrix& matrix, WorkerPool& pool) {
  PackedPart part;
  part.dtype = matrix.dtype;
  part.rows = matrix.rows;
  part.num_panels = (matrix.rows + kPanelChannels - 1) / kPanelChannels;
  part.panel_bytes = PanelBytes(matrix.dtype, matrix.cols);
  absl::StatusOr<AlignedMemory> memory = AlignedMemory::Allocate(part.num_panels * part.panel_bytes);
  if (!memory.ok()) return memory.status();
  part.memory = *std::move(memory);
  pool.Run([&](int worker) {
    const int64_t end = part.num_panels * (worker + 1) / pool.size();
    for (int64_t panel = part.num_panels * worker / pool.size(); panel < end; ++panel) {
      PackPanel(matrix, panel, part.memory.data() + panel * part.panel_bytes);
    }
  });
  return part;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuPackedMatrix>> CpuPackedMatrix::Create(std::span<const RawMatrix> parts, bool gated,
                                                                         WorkerPool& pool) {
  if (absl::Status status = CheckPartShapes(parts, gated); !status.ok()) return status;
  std::unique_ptr<CpuPackedMatrix> matrix(new CpuPackedMatrix);
  matrix->cols_ = parts[0].cols;
  matrix->gated_ = gated;
  for (const RawMatrix& raw : parts) {
    absl::StatusOr<PackedPart> part = PackPart(raw, pool);
    if (!part.ok()) return part.status();
    matrix->rows_ += part->rows;
    (IsQuantized(raw.dtype) ? matrix->needs_quantized_input_ : matrix->needs_float_input_) = true;
    matrix->parts_.push_back(*std::move(part));
  }
  return matrix;
}

int64_t CpuPackedMatrix::bytes() const {
  int64_t bytes = 0;
  for (const PackedPart& part : parts_) bytes += static_cast<int64_t>(part.memory.size());
  return bytes;
}

void CpuPackedMatrix::Unpack(int64_t row, float* out) const {
  QUIRE_CHECK(row >= 0 && row < rows_);
  const PackedPart* part = parts_.data();
  for (; row >= part->rows; ++part) row -= part->rows;
  const std::byte* panel = part->Panel(row / kPanelChannels);
  const int lane = static_cast<int>(row % kPanelChannels);
  if (!IsQuantized(part->dtype)) return UnpackFloats(part->dtype, panel, cols_, lane, out);
  for (int64_t group = 0; group < cols_ / kGroupSize; ++group) {
    const PanelGroup<const std::byte> packed = GroupOf(part->dtype, cols_, panel, group);
    UnpackGroup(AffineFormatOf(part->dtype), packed, lane, out + group * kGroupSize);
  }
}

}  // namespace quire
