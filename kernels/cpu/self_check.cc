#include "kernels/cpu/self_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/worker_pool.h"
#include "kernels/float16.h"

namespace quire {
namespace {

// Tiles of features, rows and panels: two by two, one by one, and a part of one.
constexpr int64_t kRows = 37, kCols = 64, kChannels = 48;
// Of the largest product. Rounding makes less than a hundredth; a value in a wrong place makes about one.
constexpr float kTolerance = 0.03f;

// Q4_1 blocks: scale and offset in float16, then 32 codes of four bits.
std::vector<std::byte> MakeWeights() {
  constexpr int kBlockBytes = 20;
  std::vector<std::byte> bytes(kChannels * kCols / 32 * kBlockBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  for (size_t block = 0; block < bytes.size() / kBlockBytes; ++block) {
    const uint16_t scale = ToFloat16(0.01f * static_cast<float>(block % 7 + 1)), offset = ToFloat16(-0.3f);
    std::copy_n(reinterpret_cast<const std::byte*>(&scale), 2, bytes.data() + block * kBlockBytes);
    std::copy_n(reinterpret_cast<const std::byte*>(&offset), 2, bytes.data() + block * kBlockBytes + 2);
  }
  return bytes;
}

std::vector<float> Multiply(const MatMulKernels& kernels, const PackedMatrix& weights, WorkerPool& pool) {
  std::vector<float> input(kRows * kCols), output(kRows * kChannels);
  for (size_t i = 0; i < input.size(); ++i) input[i] = std::sin(static_cast<float>(i * i % 1009));
  MatMulArgs args;
  args.input = {input.data(), kRows, kCols, kCols};
  args.weights = &weights;
  args.output = {output.data(), kRows, kChannels, kChannels};
  MatMulRunner(kernels, pool.size()).Run(args, pool);
  return output;
}

}  // namespace

absl::Status CheckMatMulKernels(const MatMulKernels& kernels) {
  WorkerPool pool(1);
  const std::vector<std::byte> bytes = MakeWeights();
  const RawMatrix part = {DType::kQ4_1, kChannels, kCols, bytes};
  const absl::StatusOr<std::unique_ptr<CpuPackedMatrix>> weights =
      CpuPackedMatrix::Create({&part, 1}, /*gated=*/false, pool);
  if (!weights.ok()) return weights.status();
  const std::vector<float> expected = Multiply(kPortableMatMulKernels, **weights, pool);
  const std::vector<float> actual = Multiply(kernels, **weights, pool);
  float largest = 0;
  for (float y : expected) largest = std::max(largest, std::abs(y));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::abs(actual[i] - expected[i]) <= kTolerance * largest) continue;  // A NaN is not.
    return absl::InternalError(absl::StrCat("product ", i, " is ", actual[i], " instead of ", expected[i]));
  }
  return absl::OkStatus();
}

InstructionSetChoice BestInstructionSet(std::span<const InstructionSet> supported,
                                        absl::FunctionRef<absl::Status(InstructionSet)> check) {
  InstructionSetChoice choice;
  for (size_t i = supported.size(); i-- > 0;) {
    choice.instruction_set = supported[i];
    if (supported[i] <= InstructionSet::kAvx512Bf16) break;
    const absl::Status status = check(supported[i]);
    if (status.ok()) break;
    absl::StrAppend(&choice.warning, choice.warning.empty() ? "" : "; ", std::string(NameOf(supported[i])),
                    " is not used, its kernels compute wrongly here: ", std::string(status.message()));
  }
  return choice;
}

}  // namespace quire
