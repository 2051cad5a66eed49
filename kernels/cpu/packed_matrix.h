// CpuPackedMatrix: weights repacked into panels of 16 output channels (kernels/cpu/matmul_kernels.h), at the file's
// precision.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_memory.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

// One part of a matrix: `rows` output channels of one dtype, in whole panels; what pads the last one is zero.
struct PackedPart {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t num_panels = 0;
  int64_t panel_bytes = 0;
  AlignedMemory memory;

  const std::byte* Panel(int64_t panel) const { return memory.data() + panel * panel_bytes; }
};

class CpuPackedMatrix : public PackedMatrix {
 public:
  // Stacks `parts` along rows; each keeps its own dtype. With `gated` they are a gate and its up-projection, of one
  // shape. Errors as Ops::Pack.
  static absl::StatusOr<std::unique_ptr<CpuPackedMatrix>> Create(std::span<const RawMatrix> parts, bool gated,
                                                                 WorkerPool& pool);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override;

  std::span<const PackedPart> parts() const { return parts_; }
  bool gated() const { return gated_; }
  // Which kinds of activations its kernels read.
  bool needs_quantized_input() const { return needs_quantized_input_; }
  bool needs_float_input() const { return needs_float_input_; }

  // Row `row`, dequantised exactly; `out` holds cols() floats.
  void Unpack(int64_t row, float* out) const;

 private:
  CpuPackedMatrix() = default;

  std::vector<PackedPart> parts_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  bool gated_ = false;
  bool needs_quantized_input_ = false;
  bool needs_float_input_ = false;
};

}  // namespace quire
