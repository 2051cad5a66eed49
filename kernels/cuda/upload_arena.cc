#include "kernels/cuda/upload_arena.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "kernels/cuda/cuda_status.h"

namespace quire {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kLeastChunkBytes = size_t{1} << 20;
constexpr char kWhat[] = "copy a step's arrays to the device";

size_t RoundUp(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

absl::StatusOr<UploadArena::Chunk*> UploadArena::ChunkWithRoomFor(size_t bytes) {
  for (Chunk& chunk : chunks_) {
    if (chunk.host.size() - chunk.used >= bytes) return &chunk;
  }
  const size_t size = std::max(kLeastChunkBytes, bytes);
  absl::StatusOr<PinnedMemory> host = PinnedMemory::Allocate(size, kWhat);
  if (!host.ok()) return host.status();
  absl::StatusOr<DeviceMemory> device = DeviceMemory::Allocate(size, kWhat);
  if (!device.ok()) return device.status();
  return &chunks_.emplace_back(*std::move(host), *std::move(device));
}

absl::StatusOr<std::byte*> UploadArena::CopyBytes(std::span<const std::byte> bytes) {
  const size_t size = RoundUp(bytes.size());
  absl::StatusOr<Chunk*> found = ChunkWithRoomFor(size);
  if (!found.ok()) return found.status();
  Chunk& chunk = **found;
  std::byte* const from = chunk.host.data() + chunk.used;
  std::byte* const to = chunk.device.data() + chunk.used;
  std::memcpy(from, bytes.data(), bytes.size());
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes.size(), cudaMemcpyHostToDevice, stream_);
  if (error != cudaSuccess) return ToStatus(error, kWhat);
  chunk.used += size;
  return to;
}

void UploadArena::Reset() {
  for (Chunk& chunk : chunks_) chunk.used = 0;
}

}  // namespace quire
