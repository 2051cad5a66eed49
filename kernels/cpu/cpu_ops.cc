#include "kernels/cpu/cpu_ops.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/aligned_memory.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/page_copy.h"
#include "kernels/cpu/self_check.h"
#include "kernels/host_pages.h"

namespace quire {
namespace {

// Beyond this, a number of threads is a slip of the keyboard.
constexpr int kMaxThreads = 1024;

class CpuBuffer : public Buffer {
 public:
  CpuBuffer(AlignedMemory memory, int64_t floats) : memory_(std::move(memory)), floats_(floats) {
    std::memset(memory_.data(), 0, memory_.size());
  }
  float* data() const override { return reinterpret_cast<float*>(memory_.data()); }
  int64_t size() const override { return floats_; }

 private:
  AlignedMemory memory_;
  int64_t floats_;
};

absl::StatusOr<InstructionSet> ChooseInstructionSet(const CpuOptions& options) {
  const std::string& name = options.instruction_set;
  const std::vector<InstructionSet> supported = SupportedInstructionSets();
  if (name.empty()) {
    const InstructionSetChoice choice = BestInstructionSet(
        supported, [](InstructionSet candidate) { return CheckMatMulKernels(MatMulKernelsFor(candidate)); });
    if (!choice.warning.empty() && options.warn) options.warn(choice.warning);
    return choice.instruction_set;
  }
  const std::optional<InstructionSet> wanted = ParseInstructionSet(name);
  if (!wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown instruction set \"", name, "\": use ", InstructionSetNames()));
  }
  if (std::ranges::find(supported, *wanted) == supported.end()) {
    return absl::InvalidArgumentError(absl::StrCat("this machine has no ", name, ": its best instruction set is ",
                                                   std::string(NameOf(supported.back()))));
  }
  return *wanted;
}

absl::Status NeedsGpu() { return absl::InvalidArgumentError("weights in float8 need a GPU"); }

}  // namespace

CpuOps::CpuOps(InstructionSet instruction_set, const MatMulKernels& mat_mul_kernels, int num_threads)
    : instruction_set_(instruction_set),
      pool_(num_threads),
      work_loop_(pool_),
      mat_mul_(mat_mul_kernels, pool_.size()),
      attention_(instruction_set) {}

std::string CpuOps::Description() const {
  return absl::StrCat(Arithmetic(), ", ", pool_.size(), pool_.size() == 1 ? " worker" : " workers");
}

std::string CpuOps::Arithmetic() const { return absl::StrCat("cpu, ", std::string(NameOf(instruction_set_))); }

absl::StatusOr<std::unique_ptr<PackedMatrix>> CpuOps::Pack(std::span<const RawMatrix> parts,
                                                           WeightPrecision precision) {
  if (!can_pack(precision)) return NeedsGpu();
  return CpuPackedMatrix::Create(parts, /*gated=*/false, pool_);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CpuOps::PackGated(const RawMatrix& gate, const RawMatrix& up,
                                                                WeightPrecision precision) {
  if (!can_pack(precision)) return NeedsGpu();
  const RawMatrix parts[] = {gate, up};
  return CpuPackedMatrix::Create(parts, /*gated=*/true, pool_);
}

absl::StatusOr<std::unique_ptr<KvCache>> CpuOps::AllocateKvCache(const KvLayout& layout) {
  return CpuKvCache::Create(layout);
}

absl::StatusOr<std::unique_ptr<Buffer>> CpuOps::Allocate(int64_t floats) {
  QUIRE_CHECK(floats >= 0);
  // Clamped, so that a product beyond 64 bits is refused instead of wrapping to something small.
  const size_t count = std::min(static_cast<size_t>(floats), std::numeric_limits<size_t>::max() / sizeof(float));
  absl::StatusOr<AlignedMemory> memory = AlignedMemory::Allocate(count * sizeof(float));
  if (!memory.ok()) return memory.status();
  return std::make_unique<CpuBuffer>(*std::move(memory), floats);
}

absl::StatusOr<std::unique_ptr<Buffer>> CpuOps::Upload(std::span<const float> values) {
  absl::StatusOr<std::unique_ptr<Buffer>> buffer = Allocate(static_cast<int64_t>(values.size()));
  if (buffer.ok()) std::ranges::copy(values, (*buffer)->data());
  return buffer;
}

void CpuOps::Embed(const PackedMatrix& table, std::span<const int32_t> ids, MatrixView<float> output) {
  const auto& rows = static_cast<const CpuPackedMatrix&>(table);
  const auto num_ids = static_cast<int64_t>(ids.size());
  QUIRE_CHECK(output.rows == num_ids && output.cols == rows.cols());
  pool_.Run([&](int worker) {
    const int64_t end = num_ids * (worker + 1) / pool_.size();
    for (int64_t i = num_ids * worker / pool_.size(); i < end; ++i) rows.Unpack(ids[i], output.Row(i));
  });
}

void CpuOps::MatMul(const MatMulArgs& args) { mat_mul_.Run(args, pool_); }

void CpuOps::RopeAppend(const RopeAppendArgs& args) { rope_appender_.Run(args, pool_); }

void CpuOps::Attention(const AttentionArgs& args) { attention_.Run(args, pool_); }

void CpuOps::GatherRows(MatrixView<const float> input, std::span<const int32_t> rows, MatrixView<float> output) {
  QUIRE_CHECK(output.rows == static_cast<int64_t>(rows.size()) && output.cols == input.cols);
  for (size_t i = 0; i < rows.size(); ++i) {
    QUIRE_CHECK(rows[i] >= 0 && rows[i] < input.rows);
    std::copy_n(input.Row(rows[i]), input.cols, output.Row(static_cast<int64_t>(i)));
  }
}

void CpuOps::CopyPages(KvCache& kv_cache, std::span<const PageCopy> copies) {
  CopyKvPages(static_cast<CpuKvCache&>(kv_cache), copies, pool_);
}

absl::StatusOr<std::unique_ptr<HostPages>> CpuOps::AllocateHostPages(const KvLayout& layout, int num_pages) {
  return HostPagesIn<AlignedMemory>::Allocate(layout, num_pages, AlignedMemory::Allocate);
}

absl::StatusOr<uint64_t> CpuOps::StartToHost(const KvCache& kv_cache, std::span<const PageTransfer> pages,
                                             HostPages& host) {
  CopyKvPagesToHost(static_cast<const CpuKvCache&>(kv_cache), pages, host, pool_);
  return ++num_transfers_;
}

absl::StatusOr<uint64_t> CpuOps::StartFromHost(KvCache& kv_cache, std::span<const PageTransfer> pages,
                                               const HostPages& host) {
  CopyKvPagesFromHost(static_cast<CpuKvCache&>(kv_cache), pages, host, pool_);
  return ++num_transfers_;
}

void CpuOps::ForEach(int64_t count, absl::FunctionRef<void(int64_t index, int worker)> fn) {
  work_loop_.Run(count, fn);
}

absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options) {
  absl::StatusOr<InstructionSet> instruction_set = ChooseInstructionSet(options);
  if (!instruction_set.ok()) return instruction_set.status();
  if (options.num_threads < 0 || options.num_threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("number of threads must be from 0 (as many as there are processors) to ", kMaxThreads, ", not ",
                     options.num_threads));
  }
  const int num_threads = options.num_threads > 0 ? options.num_threads : DefaultWorkerCount();
  return std::make_unique<CpuOps>(*instruction_set, num_threads);
}

}  // namespace quire
