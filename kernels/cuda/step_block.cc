#include "kernels/cuda/step_block.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"

namespace quire {
namespace {

constexpr size_t kLeastBytes = size_t{64} << 10;
constexpr char kWhat[] = "copy a step's arrays to the device";

size_t BytesOf(int64_t num_words) { return static_cast<size_t>(num_words) * sizeof(int32_t); }

}  // namespace

bool StepBlock::HasRoomFor(int64_t num_words) const { return BytesOf(num_words) <= device_.size(); }

// At least twice as much as before: whoever grows step by step moves a few times only.
absl::Status StepBlock::Reserve(int64_t num_words) {
  const size_t bytes = std::max({BytesOf(num_words), 2 * device_.size(), kLeastBytes});
  for (PinnedMemory& host : host_) host = PinnedMemory();
  device_ = DeviceMemory();
  for (PinnedMemory& host : host_) {
    absl::StatusOr<PinnedMemory> memory = PinnedMemory::Allocate(bytes, kWhat);
    if (!memory.ok()) return memory.status();
    host = *std::move(memory);
  }
  absl::StatusOr<DeviceMemory> device = DeviceMemory::Allocate(bytes, kWhat);
  if (!device.ok()) return device.status();
  device_ = *std::move(device);
  return absl::OkStatus();
}

std::span<int32_t> StepBlock::host_words(int64_t num_words) const {
  QUIRE_CHECK(HasRoomFor(num_words));
  return {reinterpret_cast<int32_t*>(host_[turn_].data()), static_cast<size_t>(num_words)};
}

absl::Status StepBlock::Copy(int64_t num_words, CudaStream stream) {
  QUIRE_CHECK(HasRoomFor(num_words));
  const std::byte* const from = host_[turn_].data();
  turn_ = 1 - turn_;
  return ToStatus(cudaMemcpyAsync(device_.data(), from, BytesOf(num_words), cudaMemcpyHostToDevice, stream), kWhat);
}

}  // namespace quire
