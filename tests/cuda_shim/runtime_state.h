// What the parts of the host shim's runtime share: errors, faults to come, memory.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tests/cuda_shim/control.h"

namespace quire::cuda_shim {

struct Fault {
  Call call;
  cudaError_t error;
  int after;
};

class RuntimeState {
 public:
  static RuntimeState& Get();

  // Every function of the API holds it while it runs; work that it runs may call others.
  std::recursive_mutex mutex;

  // Begins a call: the error that it shall return at once, or cudaSuccess.
  cudaError_t Begin(Call call);
  // Remembers an error for cudaGetLastError, and for ever if the device does not recover from it.
  cudaError_t Record(cudaError_t error);
  bool lost() const { return lost_ != cudaSuccess; }
  cudaError_t PeekAtLastError() const { return lost() ? lost_ : last_; }
  cudaError_t TakeLastError();
  void AddFault(const Fault& fault) { faults_.push_back(fault); }
  void Reset();

  // Bytes of each allocation, by address.
  using Allocations = std::map<const std::byte*, size_t>;
  Allocations device_memory;
  Allocations pinned_memory;
  size_t device_bytes_in_use = 0;
  size_t pinned_bytes_in_use = 0;
  size_t device_bytes = kDeviceBytes;

  bool deferred = false;
  int64_t num_kernels_run = 0;
  std::unordered_map<const void*, size_t> shared_byte_limits;  // By kernel, where cudaFuncSetAttribute has set one.

 private:
  static constexpr size_t kDeviceBytes = size_t{1} << 30;

  std::vector<Fault> faults_;
  cudaError_t last_ = cudaSuccess;
  cudaError_t lost_ = cudaSuccess;
};

}  // namespace quire::cuda_shim
