// What streams do: kernels and copies.
#include <cuda_runtime.h>

#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "tests/cuda_shim/block_runner.h"
#include "tests/cuda_shim/runtime_state.h"
#include "tests/cuda_shim/streams.h"

namespace quire::cuda_shim {
namespace {

void RunKernel(const Grid& grid, const std::function<void()>& thread) {
  RuntimeState& state = RuntimeState::Get();
  if (state.Begin(Call::kExecution) != cudaSuccess) return;
  ++state.num_kernels_run;
  BlockRunner::Get().Run(grid, thread);
}

bool ValidShape(const dim3& grid, const dim3& block) {
  constexpr unsigned kMaxX = 0x7fffffff, kMaxYZ = 65535;
  const auto positive = [](const dim3& sizes) { return sizes.x > 0 && sizes.y > 0 && sizes.z > 0; };
  return positive(grid) && positive(block) && grid.x <= kMaxX && grid.y <= kMaxYZ && grid.z <= kMaxYZ &&
         block.x <= kMaxBlockThreads && block.y <= kMaxBlockThreads && block.z <= 64 &&
         uint64_t{block.x} * block.y * block.z <= kMaxBlockThreads;
}

// The bytes from `address` on lie in one allocation, or in memory that the shim knows nothing about.
bool WithinAllocation(const RuntimeState::Allocations& allocations, const void* address, size_t bytes, bool* known) {
  const auto* const first = static_cast<const std::byte*>(address);
  auto next = allocations.upper_bound(first);
  *known = false;
  if (next == allocations.begin()) return true;
  const auto [start, size] = *std::prev(next);
  if (first >= start + size) return true;
  *known = true;
  return bytes <= size - static_cast<size_t>(first - start);
}

bool ValidCopy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const RuntimeState& state = RuntimeState::Get();
  bool to_device, from_device, to_pinned, from_pinned;
  const bool within = WithinAllocation(state.device_memory, to, bytes, &to_device) &
                      WithinAllocation(state.device_memory, from, bytes, &from_device) &
                      WithinAllocation(state.pinned_memory, to, bytes, &to_pinned) &
                      WithinAllocation(state.pinned_memory, from, bytes, &from_pinned);
  const bool from_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
  const bool to_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
  return within && !(from_host && from_device) && !(to_host && to_device);
}

bool Pageable(const void* address) {
  const RuntimeState& state = RuntimeState::Get();
  bool device, pinned;
  (void)WithinAllocation(state.device_memory, address, 0, &device);
  (void)WithinAllocation(state.pinned_memory, address, 0, &pinned);
  return !device && !pinned;
}

// As the runtime does with pageable memory: a source is read before the call returns, and a destination is written.
cudaError_t PutCopy(CUstream_st& stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  Operation copy = [=] { std::memmove(to, from, bytes); };
  if (stream.capture != nullptr) return Put(stream, std::move(copy));
  if (kind == cudaMemcpyHostToDevice && Pageable(from)) {
    const auto* const first = static_cast<const std::byte*>(from);
    copy = [to, source = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(to, source.data(), source.size());
    };
  }
  const cudaError_t error = Put(stream, std::move(copy));
  if (error == cudaSuccess && kind == cudaMemcpyDeviceToHost && Pageable(to)) Finish(stream, kAllOperations);
  return error;
}

}  // namespace

cudaError_t EnqueueLaunch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(config.stream, Call::kLaunch, &stream); error != cudaSuccess) return error;
  if (!ValidShape(config.gridDim, config.blockDim)) return state.Record(cudaErrorInvalidConfiguration);
  const auto limit = state.shared_byte_limits.find(kernel);
  if (config.dynamicSmemBytes > (limit == state.shared_byte_limits.end() ? kDefaultSharedByteLimit : limit->second)) {
    return state.Record(cudaErrorInvalidValue);
  }
  const Grid grid = {config.gridDim, config.blockDim, config.dynamicSmemBytes};
  return Put(*stream, [grid, thread = std::move(thread)] { RunKernel(grid, thread); });
}

}  // namespace quire::cuda_shim

using quire::cuda_shim::BeginOn;
using quire::cuda_shim::Call;
using quire::cuda_shim::Put;
using quire::cuda_shim::RuntimeState;

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(handle, Call::kCopy, &stream); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!quire::cuda_shim::ValidCopy(to, from, bytes, kind)) return state.Record(cudaErrorInvalidValue);
  return quire::cuda_shim::PutCopy(*stream, to, from, bytes, kind);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  if (const cudaError_t error = quire::cuda_shim::SpoilCaptures(); error != cudaSuccess) return error;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t handle) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  CUstream_st* stream;
  if (const cudaError_t error = BeginOn(handle, Call::kCopy, &stream); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  if (!quire::cuda_shim::ValidCopy(to, to, bytes, cudaMemcpyDefault)) return state.Record(cudaErrorInvalidValue);
  return Put(*stream, [=] { std::memset(to, byte, bytes); });
}

cudaError_t cudaMemset(void* to, int byte, size_t bytes) { return cudaMemsetAsync(to, byte, bytes, nullptr); }
