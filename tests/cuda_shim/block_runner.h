// Runs grids: blocks one after the other, the threads of a block as fibers. The order of blocks, of warps between two
// barriers and of lanes between two warp collectives comes from a seed: a kernel that needs an order it has not asked
// for gives different results with different seeds. A block that waits for another never ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "tests/cuda_shim/async_units.h"
#include "tests/cuda_shim/cuda_shim.h"
#include "tests/cuda_shim/fiber.h"
#include "tests/cuda_shim/vector_types.h"

namespace quire::cuda_shim {

constexpr int kMaxBlockThreads = 1024;
constexpr size_t kMaxSharedBytes = size_t{227} << 10;      // Where HasHopper(); otherwise
constexpr size_t kPortableSharedBytes = size_t{100} << 10;  // this.
inline size_t MaxSharedBytes() { return HasHopper() ? kMaxSharedBytes : kPortableSharedBytes; }
constexpr size_t kDefaultSharedByteLimit = size_t{48} << 10;  // Until cudaFuncSetAttribute raises a kernel's.

struct Grid {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;
};

class BlockRunner {
 public:
  static BlockRunner& Get();

  // Calls `thread` once for each thread of the grid, with threadIdx and the like set. One grid at a time.
  void Run(const Grid& grid, const std::function<void()>& thread);
  void SetSeed(uint64_t seed);

  // For the thread that runs; see cuda_shim.h.
  std::byte* shared_memory();
  int lane() const { return current_ % kLanes; }
  void SyncBlock(const Caller& caller);
  void WarpCollective(const char* operation, void* operands, void (*combine)(void* const*), const Caller& caller);
  void CopyAsync(std::byte* shared, const std::byte* global, bool valid, const Caller& caller);
  void CommitCopies();
  void WaitCopies(int pending);
  int thread() const { return current_; }
  AsyncUnits& async() { return async_; }
  void EnqueueProduct(WarpgroupProduct product);
  void CommitProducts() { ++threads_[current_].product_group; }
  void WaitProducts(int pending, const Caller& caller);
  // Lets others run until the condition holds. That nobody gets on any more ends the process.
  void WaitUntil(absl::FunctionRef<bool()> holds, const char* operation, const Caller& caller);
  uint64_t Random();

  // `bytes` bytes at `address` are shared memory of the block, and aligned to as many.
  void CheckShared(const void* address, size_t bytes, const char* operation, const Caller& caller) const;
  [[noreturn]] void Fail(const std::string& message) const;

 private:
  struct Copy {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;  // Null: zeros.
    int64_t group = 0;
  };
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    uint3 index = {};
    std::vector<Copy> copies;  // That were not waited for, in order.
    int64_t group = 0;         // That the next copy belongs to.
    std::vector<WarpgroupProduct> products;  // Likewise.
    int64_t product_group = 0;
  };
  // Each bit is a lane, each lane of the block is in one of the sets or running.
  struct Warp {
    uint32_t runnable = 0;
    uint32_t at_collective = 0;
    uint32_t at_barrier = 0;
    uint32_t returned = 0;
    const char* operation = nullptr;  // The collective that lanes are at, and from where it was called.
    Caller caller;
    void* operands[kLanes] = {};
  };

  BlockRunner() = default;
  void PrepareThreads(const Grid& grid);
  void RunBlock();
  void RunWarp(int warp);
  void RunThread(int thread);
  void ReleaseBarrier();
  void FillSharedMemory();
  void CheckGuards();
  void OnReturn();
  [[noreturn]] void FailIncomplete(int warp) const;

  std::mutex mutex_;
  uint64_t random_ = 1;
  const std::function<void()>* thread_ = nullptr;
  int num_threads_ = 0;
  int num_warps_ = 0;
  int current_ = 0;  // The thread that runs.
  int num_returned_ = 0;
  int num_at_barrier_ = 0;
  int first_at_barrier_ = 0;
  Caller barrier_caller_;
  size_t shared_bytes_ = 0;
  int64_t idle_turns_ = 0;  // Of threads in WaitUntil, since somebody got on.
  AsyncUnits async_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;  // Warps with a runnable lane.
};

}  // namespace quire::cuda_shim
