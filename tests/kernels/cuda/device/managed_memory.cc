#include "tests/kernels/cuda/device/managed_memory.h"

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

// Several times what the tests have at once. Pages that nobody touches take up address space only.
constexpr size_t kPoolBytes = size_t{8} << 30;
constexpr size_t kLeastAlignment = 64;
constexpr int kNumClasses = 34;  // Blocks of 2^0 to 2^33 bytes; the smallest in use is of 128.

// Right before the memory that is handed out.
struct Header {
  std::byte* block;
  int size_class;
};

// Blocks are of powers of two and are used again by their class; they are never joined.
class ManagedPool {
 public:
  void Open(std::byte* memory) { next_ = begin_ = memory; }
  bool is_open() const { return begin_ != nullptr; }
  bool Owns(const void* pointer) const {
    const auto address = reinterpret_cast<uintptr_t>(pointer), begin = reinterpret_cast<uintptr_t>(begin_);
    return is_open() && address >= begin && address - begin < kPoolBytes;
  }

  // nullptr when the pool is used up.
  void* Allocate(size_t bytes, size_t alignment) {
    if (bytes > kPoolBytes || alignment > kPoolBytes) return nullptr;
    if (alignment < kLeastAlignment) alignment = kLeastAlignment;
    static_assert(sizeof(Header) <= kLeastAlignment);
    // Blocks are aligned to kLeastAlignment, so the header and the padding take up to 2 * alignment.
    const int size_class = std::bit_width(bytes + 2 * alignment - 1);
    std::byte* block = Take(size_class);
    if (block == nullptr) return nullptr;
    const uintptr_t first = reinterpret_cast<uintptr_t>(block) + sizeof(Header);
    auto* memory = reinterpret_cast<std::byte*>((first + alignment - 1) / alignment * alignment);
    new (memory - sizeof(Header)) Header{block, size_class};
    return memory;
  }

  void Free(void* memory) {
    const Header header = *reinterpret_cast<Header*>(static_cast<std::byte*>(memory) - sizeof(Header));
    const std::lock_guard lock(mutex_);
    *reinterpret_cast<std::byte**>(header.block) = free_[header.size_class];
    free_[header.size_class] = header.block;
  }

 private:
  std::byte* Take(int size_class) {
    if (size_class >= kNumClasses) return nullptr;
    const std::lock_guard lock(mutex_);
    if (std::byte* const block = free_[size_class]; block != nullptr) {
      free_[size_class] = *reinterpret_cast<std::byte**>(block);
      return block;
    }
    const size_t size = size_t{1} << size_class;
    if (size > kPoolBytes - static_cast<size_t>(next_ - begin_)) return nullptr;
    std::byte* const block = next_;
    next_ += size;
    return block;
  }

  std::mutex mutex_;
  std::byte* begin_ = nullptr;
  std::byte* next_ = nullptr;          // What lies behind it was never handed out.
  std::byte* free_[kNumClasses] = {};  // Each block begins with the address of the next.
};

constinit ManagedPool pool;
thread_local int num_pauses = 0;

void* Allocate(size_t bytes, size_t alignment) {
  void* memory = nullptr;
  if (pool.is_open() && num_pauses == 0) {
    memory = pool.Allocate(bytes, alignment);
  } else if (posix_memalign(&memory, alignment < kLeastAlignment ? kLeastAlignment : alignment, bytes) != 0) {
    memory = nullptr;
  }
  if (memory != nullptr) return memory;
  std::fprintf(stderr, "no %zu bytes are left for the tests' memory, see kPoolBytes in managed_memory.cc\n", bytes);
  std::abort();
}

void Free(void* memory) {
  if (pool.Owns(memory)) {
    pool.Free(memory);
  } else {
    std::free(memory);
  }
}

absl::Status Failed(const char* what, cudaError_t error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", cudaGetErrorString(error)));
}

}  // namespace

void PauseManagedMemory() { ++num_pauses; }
void ResumeManagedMemory() { --num_pauses; }

absl::Status UseManagedMemory() {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) return Failed("there is no GPU that can be used", error);
  int concurrent = 0;
  error = cudaDeviceGetAttribute(&concurrent, cudaDevAttrConcurrentManagedAccess, 0);
  if (error != cudaSuccess) return Failed("the GPU cannot be asked", error);
  if (concurrent == 0) {
    return absl::UnavailableError("the GPU or its driver lets the host touch no managed memory while kernels run");
  }
  void* memory = nullptr;
  error = cudaMallocManaged(&memory, kPoolBytes);
  if (error != cudaSuccess) return Failed("no managed memory can be had", error);
  pool.Open(static_cast<std::byte*>(memory));
  return absl::OkStatus();
}

}  // namespace quire

void* operator new(size_t bytes) { return quire::Allocate(bytes, 1); }
void* operator new[](size_t bytes) { return quire::Allocate(bytes, 1); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return quire::Allocate(bytes, 1); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return quire::Allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return quire::Allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return quire::Allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return quire::Allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return quire::Allocate(bytes, static_cast<size_t>(alignment));
}

void operator delete(void* memory) noexcept { quire::Free(memory); }
void operator delete[](void* memory) noexcept { quire::Free(memory); }
void operator delete(void* memory, size_t) noexcept { quire::Free(memory); }
void operator delete[](void* memory, size_t) noexcept { quire::Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { quire::Free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { quire::Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { quire::Free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { quire::Free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { quire::Free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { quire::Free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { quire::Free(memory); }
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept { quire::Free(memory); }
