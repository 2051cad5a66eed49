// StepBlock: a step's arrays in one piece of device memory, at the same place step after step, where the kernels of a
// graph look for them.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/stream.h"

namespace quire {

// Words are of 32 bits. A steady step allocates nothing and makes one copy.
class StepBlock {
 public:
  bool HasRoomFor(int64_t num_words) const;
  // Makes room for so many words, or for more. What was there is lost and the place changes. RESOURCE_EXHAUSTED when
  // memory cannot be had; then there is no room for anything. REQUIRES: the device has done all that uses the block.
  absl::Status Reserve(int64_t num_words);

  // To be filled in by the host for the next Copy. REQUIRES: there is room; the stream has done the last Copy but one.
  std::span<int32_t> host_words(int64_t num_words) const;
  // Puts a copy of the first words, as they are now, on the stream.
  absl::Status Copy(int64_t num_words, CudaStream stream);
  const int32_t* device_words() const { return reinterpret_cast<const int32_t*>(device_.data()); }

 private:
  // Two in turns: one is filled in while the stream may be reading the other.
  PinnedMemory host_[2];
  int turn_ = 0;
  DeviceMemory device_;
};

}  // namespace quire
