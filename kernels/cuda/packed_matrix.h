// CudaPackedMatrix: weights in device memory, in the layout of kernels/cuda/weight_format.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/weight_format.h"
#include "kernels/ops.h"

namespace quire {

// How weights are packed and go up: calls fn(index) for every index in [0, count), on as many threads as it likes, and
// returns when all are done.
using ParallelFor = absl::FunctionRef<void(int64_t count, absl::FunctionRef<void(int64_t index)> fn)>;

// Pinned memory that matrices are packed into before they are copied, a piece at a time. One for all matrices of a
// model; to be dropped when they are loaded.
class WeightStaging {
 public:
  // Copies go over `stream`.
  explicit WeightStaging(CudaStream stream) : stream_(stream) {}

  // So that it has at least `bytes`. RESOURCE_EXHAUSTED when memory cannot be had.
  absl::Status Reserve(size_t bytes);
  std::byte* data() { return memory_.data(); }
  size_t size() const { return memory_.size(); }
  // Copies the first `bytes` to device memory, and waits until they are there.
  absl::Status CopyTo(std::byte* device, size_t bytes);

 private:
  PinnedMemory memory_;
  CudaStream stream_;
};

// Neighbouring output channels of one format. Parts of equal formats, such as Q and K of most files, or of all that are
// rounded to float8, become one segment, without padding between them.
struct WeightSegment {
  WeightFormat format = WeightFormat::kBFloat16;
  int64_t first_channel = 0;
  int64_t num_channels = 0;  // Gated: outputs, half of the matrix' rows.
  int64_t num_panels = 0;
  DeviceMemory memory;
  DeviceMemory scales;  // Of channels: kFloat8 only.
};

class CudaPackedMatrix : public PackedMatrix {
 public:
  // Stacks `parts` along rows; as stored, each keeps its precision (F32 and F16 are rounded to bfloat16). With `gated`
  // they are a gate and its up-projection, of one shape; as stored in different formats, both become bfloat16. Errors
  // as Ops::Pack.
  static absl::StatusOr<std::unique_ptr<CudaPackedMatrix>> Create(std::span<const RawMatrix> parts, bool gated,
                                                                  WeightPrecision precision, WeightStaging& staging,
                                                                  ParallelFor parallel_for);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override;

  std::span<const WeightSegment> segments() const { return segments_; }
  bool gated() const { return gated_; }

 private:
  CudaPackedMatrix() = default;

  std::vector<WeightSegment> segments_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  bool gated_ = false;
};

}  // namespace quire
