#include "kernels/cpu/aligned_memory.h"

#include <sys/mman.h>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kLargePage = size_t{2} << 20;
// More than any one matrix needs; sizes beyond come from mistakes, and allocators may abort on them.
constexpr size_t kMaxBytes = size_t{1} << 39;

}  // namespace

absl::StatusOr<AlignedMemory> AlignedMemory::Allocate(size_t bytes) {
  const size_t alignment = bytes >= kLargePage ? kLargePage : kCacheLine;
  const size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  void* data = bytes <= kMaxBytes ? std::aligned_alloc(alignment, rounded) : nullptr;
  if (data == nullptr) return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes of memory"));
  // Streams through weights miss the TLB at every small page; where large ones are not to be had it is only slower.
  if (alignment == kLargePage) (void)madvise(data, rounded, MADV_HUGEPAGE);
  return AlignedMemory(static_cast<std::byte*>(data), bytes);
}

}  // namespace quire
