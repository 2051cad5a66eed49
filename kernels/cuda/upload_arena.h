// UploadArena: takes a step's small arrays from the host to the device, without waiting for either.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/stream.h"

namespace quire {

// Keeps the memory of the largest step so far: a steady step allocates nothing.
class UploadArena {
 public:
  explicit UploadArena(CudaStream stream) : stream_(stream) {}

  // Where the device finds a copy of `values`, aligned to 256 bytes, from here on in the stream until Reset; nullptr for
  // none. The values themselves are free when it returns. RESOURCE_EXHAUSTED when memory cannot be had, or what the copy
  // itself meets.
  template <typename T>
  absl::StatusOr<const T*> Copy(std::span<const T> values) {
    if (values.empty()) return nullptr;
    absl::StatusOr<std::byte*> copy = CopyBytes(std::as_bytes(values));
    if (!copy.ok()) return copy.status();
    return reinterpret_cast<const T*>(*copy);
  }

  // Forgets all copies. REQUIRES: the stream has been waited for.
  void Reset();

 private:
  // A piece of pinned memory and one of the device of the same size, filled from the front.
  struct Chunk {
    PinnedMemory host;
    DeviceMemory device;
    size_t used = 0;
  };

  absl::StatusOr<std::byte*> CopyBytes(std::span<const std::byte> bytes);
  absl::StatusOr<Chunk*> ChunkWithRoomFor(size_t bytes);

  CudaStream stream_;
  std::vector<Chunk> chunks_;
};

}  // namespace quire
