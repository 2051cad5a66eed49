// ReferenceOps: Ops written as the formulas read, single-threaded, every sum in double. It is the oracle that both
// backends are compared with, and it lets a test run a decoder without trusting any kernel. Weights are dequantised to
// float, or rounded to float8 with the rows they are multiplied with; the KV cache holds what a backend's would (values
// rounded to the layout's types), and slots that nobody has written are NaN, so that reading one shows.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "kernels/ops.h"

namespace quire {

class ReferenceOps : public Ops {
 public:
  std::string Description() const override { return "reference"; }

  bool can_pack(WeightPrecision) const override { return true; }
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::span<const RawMatrix> parts,
                                                     WeightPrecision precision) override;
  absl::StatusOr<std::unique_ptr<PackedMatrix>> PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                          WeightPrecision precision) override;
  absl::StatusOr<std::unique_ptr<KvCache>> AllocateKvCache(const KvLayout& layout) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t floats) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) override;

  void Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) override;
  void MatMul(const MatMulArgs& args) override;
  void RopeAppend(const RopeAppendArgs& args) override;
  void Attention(const AttentionArgs& args) override;
  void GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) override;
  void CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) override;
  MatrixView<const float> ToHost(MatrixView<const float> matrix) override { return matrix; }
  absl::Status Synchronize() override { return absl::OkStatus(); }
};

}  // namespace quire
