// HostPagesIn: HostPages in one piece of memory, which a backend allocates as it needs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/check.h"
#include "kernels/paged_kv.h"

namespace quire {

// `Memory` has data() and owns what is there.
template <typename Memory>
class HostPagesIn : public HostPages {
 public:
  // What `allocate` says when the memory cannot be had. REQUIRES: num_pages >= 1.
  static absl::StatusOr<std::unique_ptr<HostPages>> Allocate(
      const KvLayout& layout, int num_pages, absl::FunctionRef<absl::StatusOr<Memory>(size_t bytes)> allocate) {
    QUIRE_CHECK(num_pages >= 1);
    const auto page_bytes = static_cast<size_t>(layout.BytesPerPage());
    const bool fits = page_bytes <= std::numeric_limits<size_t>::max() / num_pages;
    absl::StatusOr<Memory> memory = allocate(fits ? page_bytes * num_pages : std::numeric_limits<size_t>::max());
    if (!memory.ok()) return memory.status();
    return std::unique_ptr<HostPages>(new HostPagesIn(*std::move(memory), page_bytes, num_pages));
  }

  int num_pages() const override { return num_pages_; }
  std::span<std::byte> page(int index) const override {
    QUIRE_CHECK(index >= 0 && index < num_pages_);
    return {memory_.data() + index * page_bytes_, page_bytes_};
  }

 private:
  HostPagesIn(Memory memory, size_t page_bytes, int num_pages)
      : memory_(std::move(memory)), page_bytes_(page_bytes), num_pages_(num_pages) {}

  const Memory memory_;
  const size_t page_bytes_;
  const int num_pages_;
};

}  // namespace quire
