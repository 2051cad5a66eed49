// What works beside the threads of a block on compute capability 9.0: matrix units of warpgroups, bulk copies, barriers
// in shared memory that count bytes, barriers of some of the block's threads, and the dealing of registers. Everything
// is as late as a device may be: products are made when they are waited for, from what then lies in registers and
// shared memory, and bulk copies happen, in any order, when somebody waits for one. A destination holds 0xff bytes
// until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/cuda_shim/cuda_shim.h"

namespace quire::cuda_shim {

// One of a thread's products under way; see Wgmma and WgmmaFloat8 in kernels/cuda/hopper.cuh.
struct WarpgroupProduct {
  float* d = nullptr;
  int num_columns = 0;
  const uint32_t* a = nullptr;
  uint64_t b = 0;          // The descriptor.
  bool is_float8 = false;  // Or bfloat16.
  bool transposed = false;
  bool accumulate = false;
  int64_t group = 0;
};

// Makes a warp's part of a product: operands of its lanes, as BlockRunner::WarpCollective has them. `shared` has
// `shared_bytes` bytes. Empty, or what is wrong with the descriptor. Sums 16 products at a time in float64, adds the
// old value and rounds, as MmaBFloat16 does: of float8, too, though a device keeps fewer bits of those.
std::string MultiplyTile(void* const* lanes, const std::byte* shared, size_t shared_bytes);

// A transfer barrier as it lies in shared memory.
struct BarrierWord {
  int8_t arrivals = 0;  // That end a phase.
  int8_t pending = 0;
  int8_t phase = 0;    // Parity.
  int8_t is_made = 0;  // kMade
  int32_t bytes = 0;   // Announced, and not yet come.

  static constexpr int8_t kMade = 0x5c;
  void Advance() {
    if (pending != 0 || bytes != 0) return;
    pending = arrivals;
    phase ^= 1;
  }
};
static_assert(sizeof(BarrierWord) == sizeof(uint64_t));

class AsyncUnits {
 public:
  struct BulkCopy {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    int bytes = 0;
    BarrierWord* barrier = nullptr;
  };
  // Of part of a block's threads.
  struct NamedBarrier {
    int threads = 0;
    int arrived = 0;
    int64_t phase = 0;
  };
  static constexpr int kNamedBarriers = 16;

  // A block begins. A multiprocessor's registers are shared out evenly, in eights, among whole warpgroups.
  void Begin(int num_threads);
  // What a block leaves unfinished at its end; empty: nothing.
  std::string Unfinished() const;

  void Enqueue(const BulkCopy& copy) { copies_.push_back(copy); }
  bool has_copies() const { return !copies_.empty(); }
  // Does one of the copies, the `random`th.
  void CopyOne(uint64_t random);

  NamedBarrier& named_barrier(int number) { return named_barriers_[number]; }
  // Counts a thread that has come. Empty, or what is wrong with that.
  std::string ArriveAtNamed(int number, int threads);

  // A thread gives registers up; false: it has fewer.
  bool GiveRegisters(int thread, int wanted);
  // A thread gets more registers; false: not enough have been given up yet.
  bool TakeRegisters(int thread, int wanted);

 private:
  std::vector<BulkCopy> copies_;
  NamedBarrier named_barriers_[kNamedBarriers];
  std::vector<int> registers_;  // By thread.
  int spare_registers_ = 0;
};

}  // namespace quire::cuda_shim
