// Memory of the device, and memory of the host that the device copies from and to while kernels run ("pinned").
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// Freed with the object, which must outlive the work that uses it. Freeing waits for the device.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Aligned to 256 bytes; contents are undefined. `what` names it in errors: "the KV cache". RESOURCE_EXHAUSTED when
  // the memory cannot be had, UNAVAILABLE when the device is lost.
  static absl::StatusOr<DeviceMemory> Allocate(size_t bytes, std::string_view what);

  std::byte* data() const { return data_.get(); }  // Of the device: the host must not read or write there.
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };

  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

class PinnedMemory {
 public:
  PinnedMemory() = default;
  // As for DeviceMemory.
  static absl::StatusOr<PinnedMemory> Allocate(size_t bytes, std::string_view what);

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };

  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace quire
