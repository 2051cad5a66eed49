#include "kernels/cuda/device_memory.h"

#include <cuda_runtime.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"

namespace quire {
namespace {

std::string Allocating(size_t bytes, const char* kind, std::string_view what) {
  return absl::StrCat("cannot allocate ", bytes, " bytes of ", kind, " memory for ", std::string(what));
}

}  // namespace

absl::StatusOr<DeviceMemory> DeviceMemory::Allocate(size_t bytes, std::string_view what) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();  // It is told here, and the next to ask must not take it for its own.
    return ToStatus(error, Allocating(bytes, "device", what));
  }
  DeviceMemory memory;
  memory.data_.reset(static_cast<std::byte*>(data));
  memory.size_ = bytes;
  return memory;
}

// Nothing can be done about an error here: it is one of earlier work, which others will hear of as well.
void DeviceMemory::Free::operator()(std::byte* data) const { (void)cudaFree(data); }

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(size_t bytes, std::string_view what) {
  void* data = nullptr;
  const cudaError_t error = cudaMallocHost(&data, bytes);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return ToStatus(error, Allocating(bytes, "pinned host", what));
  }
  PinnedMemory memory;
  memory.data_.reset(static_cast<std::byte*>(data));
  memory.size_ = bytes;
  return memory;
}

void PinnedMemory::Free::operator()(std::byte* data) const { (void)cudaFreeHost(data); }

}  // namespace quire
