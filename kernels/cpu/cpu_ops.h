// CpuOps: Ops on the processor, with the best kernels that the machine has and a pool of workers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/rope_append.h"
#include "kernels/cpu/work_loop.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/ops.h"

namespace quire {

class CpuOps : public Ops {
 public:
  // REQUIRES: the machine supports instruction_set; num_threads >= 1.
  CpuOps(InstructionSet instruction_set, int num_threads)
      : CpuOps(instruction_set, MatMulKernelsFor(instruction_set), num_threads) {}
  // The same with other matrix kernels than the set's own, which outlive it.
  CpuOps(InstructionSet instruction_set, const MatMulKernels& mat_mul_kernels, int num_threads);

  std::string Description() const override;
  std::string Arithmetic() const override;

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
  absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(const KvLayout& layout, int num_pages) override;
  // These copy before they return.
  absl::StatusOr<uint64_t> StartToHost(const KvCache& kv_cache, std::span<const PageTransfer> pages,
                                       HostPages& host) override;
  absl::StatusOr<uint64_t> StartFromHost(KvCache& kv_cache, std::span<const PageTransfer> pages,
                                         const HostPages& host) override;
  absl::StatusOr<uint64_t> TransfersDone(uint64_t /*wait_for*/ = 0) override { return num_transfers_; }
  MatrixView<const float> ToHost(MatrixView<const float> matrix) override { return matrix; }
  // Every call has finished when it returns.
  absl::Status Synchronize() override { return absl::OkStatus(); }
  int num_host_workers() const override { return pool_.size(); }
  void ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) override;

 private:
  const InstructionSet instruction_set_;
  WorkerPool pool_;
  WorkLoop work_loop_;
  MatMulRunner mat_mul_;
  RopeAppender rope_appender_;
  PagedAttention attention_;
  uint64_t num_transfers_ = 0;
};

}  // namespace quire
