// The KV cache of the CUDA backend: one allocation of device memory, laid out by kernels/cuda/kv_layout.h.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/kv_layout.h"
#include "kernels/paged_kv.h"

namespace quire {

class CudaKvCache : public KvCache {
 public:
  // Its contents are undefined: whatever nobody sees, attention takes for nothing. INVALID_ARGUMENT for a layout this
  // backend has no kernels for, otherwise as DeviceMemory::Allocate.
  static absl::StatusOr<std::unique_ptr<CudaKvCache>> Create(const KvLayout& layout);

  const KvLayout& layout() const override { return layout_; }
  CudaKvLayer Layer(int layer) const { return CudaKvLayerAt(layout_, memory_.data(), layer); }
  std::byte* memory() const { return memory_.data(); }  // Of the device.

 private:
  CudaKvCache(const KvLayout& layout, DeviceMemory memory) : layout_(layout), memory_(std::move(memory)) {}

  const KvLayout layout_;
  const DeviceMemory memory_;
};

}  // namespace quire
