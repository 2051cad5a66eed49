// A block of memory for weights and activations: aligned for vectors, on large pages where it is large.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"

namespace quire {

class AlignedMemory {
 public:
  AlignedMemory() = default;
  // Not zeroed. RESOURCE_EXHAUSTED when the memory cannot be had.
  static absl::StatusOr<AlignedMemory> Allocate(size_t bytes);

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  AlignedMemory(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace quire
