#include "kernels/cuda/packed_matrix.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/weight_packing.h"
#include "kernels/part_shapes.h"

namespace quire {
namespace {

// Enough for the packing of a piece to be shared among many threads.
constexpr size_t kStagingBytes = size_t{16} << 20;

// A segment yet to be packed.
struct SegmentSource {
  WeightFormat format = WeightFormat::kBFloat16;
  PanelSource panels;
};

std::vector<SegmentSource> SegmentsOf(std::span<const RawMatrix> parts, bool gated, WeightPrecision precision) {
  if (precision == WeightPrecision::kFloat8) return {{WeightFormat::kFloat8, {parts, gated}}};
  if (gated) {
    const WeightFormat gate = WeightFormatOf(parts[0].dtype), up = WeightFormatOf(parts[1].dtype);
    return {{gate == up ? gate : WeightFormat::kBFloat16, {parts, /*gated=*/true}}};
  }
  std::vector<SegmentSource> segments;
  for (size_t begin = 0, end = 0; begin < parts.size(); begin = end) {
    const WeightFormat format = WeightFormatOf(parts[begin].dtype);
    while (end < parts.size() && WeightFormatOf(parts[end].dtype) == format) ++end;
    segments.push_back({format, {parts.subspan(begin, end - begin), /*gated=*/false}});
  }
  return segments;
}

// Packs and copies the panels, as many at a time as fit into the staging memory.
absl::Status Upload(const SegmentSource& source, WeightSegment& segment, WeightStaging& staging,
                    ParallelFor parallel_for) {
  const int64_t panel_bytes = PanelBytesOf(source.format, source.panels.cols());
  const size_t wanted = std::min<size_t>(kStagingBytes, segment.num_panels * panel_bytes);
  if (absl::Status status = staging.Reserve(std::max<size_t>(wanted, panel_bytes)); !status.ok()) return status;
  const int64_t most = static_cast<int64_t>(staging.size()) / panel_bytes;
  std::vector<float> scales(segment.scales.size() / sizeof(float));
  for (int64_t first = 0; first < segment.num_panels; first += most) {
    const int64_t count = std::min(most, segment.num_panels - first);
    parallel_for(count, [&](int64_t i) {
      float* const scales_of_panel = scales.empty() ? nullptr : scales.data() + (first + i) * kPanelRows;
      PackPanel(source.panels, source.format, first + i, staging.data() + i * panel_bytes, scales_of_panel);
    });
    std::byte* const to = segment.memory.data() + first * panel_bytes;
    if (absl::Status copied = staging.CopyTo(to, count * panel_bytes); !copied.ok()) return copied;
  }
  if (scales.empty()) return absl::OkStatus();
  return ToStatus(cudaMemcpy(segment.scales.data(), scales.data(), segment.scales.size(), cudaMemcpyHostToDevice),
                  "copy scales of weights to the device");
}

absl::Status Allocate(int64_t cols, WeightSegment& segment) {
  absl::StatusOr<DeviceMemory> memory =
      DeviceMemory::Allocate(segment.num_panels * PanelBytesOf(segment.format, cols), "weights");
  if (!memory.ok()) return memory.status();
  segment.memory = *std::move(memory);
  if (!LayoutOf(segment.format).is_float8) return absl::OkStatus();
  absl::StatusOr<DeviceMemory> scales =
      DeviceMemory::Allocate(segment.num_panels * kPanelRows * sizeof(float), "scales of weights");
  if (!scales.ok()) return scales.status();
  segment.scales = *std::move(scales);
  return absl::OkStatus();
}

}  // namespace

absl::Status WeightStaging::Reserve(size_t bytes) {
  if (bytes <= memory_.size()) return absl::OkStatus();
  memory_ = PinnedMemory();
  absl::StatusOr<PinnedMemory> memory = PinnedMemory::Allocate(bytes, "memory to load weights through");
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  return absl::OkStatus();
}

absl::Status WeightStaging::CopyTo(std::byte* device, size_t bytes) {
  cudaError_t error = cudaMemcpyAsync(device, memory_.data(), bytes, cudaMemcpyHostToDevice, stream_);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
  return ToStatus(error, "copy weights to the device");
}

absl::StatusOr<std::unique_ptr<CudaPackedMatrix>> CudaPackedMatrix::Create(std::span<const RawMatrix> parts, bool gated,
                                                                           WeightPrecision precision,
                                                                           WeightStaging& staging,
                                                                           ParallelFor parallel_for) {
  if (absl::Status status = CheckPartShapes(parts, gated); !status.ok()) return status;
  std::unique_ptr<CudaPackedMatrix> matrix(new CudaPackedMatrix);
  matrix->cols_ = parts[0].cols;
  matrix->gated_ = gated;
  for (const SegmentSource& source : SegmentsOf(parts, gated, precision)) {
    WeightSegment segment;
    segment.format = source.format;
    segment.first_channel = matrix->rows_;
    for (const RawMatrix& part : source.panels.parts) matrix->rows_ += part.rows;
    segment.num_channels = gated ? parts[0].rows : matrix->rows_ - segment.first_channel;
    segment.num_panels = source.panels.num_panels();
    if (absl::Status status = Allocate(matrix->cols_, segment); !status.ok()) return status;
    if (absl::Status status = Upload(source, segment, staging, parallel_for); !status.ok()) return status;
    matrix->segments_.push_back(std::move(segment));
  }
  return matrix;
}

int64_t CudaPackedMatrix::bytes() const {
  int64_t bytes = 0;
  for (const WeightSegment& segment : segments_) {
    bytes += static_cast<int64_t>(segment.memory.size() + segment.scales.size());
  }
  return bytes;
}

}  // namespace quire
