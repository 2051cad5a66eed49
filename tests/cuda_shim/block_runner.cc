#include "tests/cuda_shim/block_runner.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "tests/cuda_shim/device_functions.h"
#include "tests/cuda_shim/sanitizer.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace quire::cuda_shim {
namespace {

constexpr int kUndefined = 0xff;
constexpr size_t kGuardBytes = 1024;
constexpr int64_t kMostIdleTurns = 2000;  // For each thread of the block.
constexpr std::byte kGuard{0xa5};

// Shared memory lies between two guards: kernels do not write to either.
alignas(1024) std::byte shared_storage[kGuardBytes + kMaxSharedBytes + kGuardBytes];

std::string Place(const Caller& caller) { return absl::StrCat(caller.file_name(), ":", caller.line()); }

bool SameText(const char* a, const char* b) { return a == b || std::string_view(a) == b; }

bool SamePlace(const Caller& a, const Caller& b) {
  return a.line() == b.line() && a.column() == b.column() && SameText(a.file_name(), b.file_name());
}

uint3 IndexIn(const dim3& sizes, int64_t number) {
  return {static_cast<unsigned>(number % sizes.x), static_cast<unsigned>(number / sizes.x % sizes.y),
          static_cast<unsigned>(number / sizes.x / sizes.y)};
}

int64_t Count(const dim3& sizes) { return int64_t{sizes.x} * sizes.y * sizes.z; }

}  // namespace

BlockRunner& BlockRunner::Get() {
  static BlockRunner* const runner = new BlockRunner();  // Fibers are never destroyed.
  return *runner;
}

void BlockRunner::Run(const Grid& grid, const std::function<void()>& thread) {
  const std::lock_guard lock(mutex_);
  PrepareThreads(grid);
  thread_ = &thread;
  gridDim = grid.blocks;
  std::vector<int64_t> order(Count(grid.blocks));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[Random() % i]);
  for (int64_t block : order) {
    blockIdx = IndexIn(grid.blocks, block);
    RunBlock();
  }
}

void BlockRunner::SetSeed(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  random_ = seed;
}

void BlockRunner::PrepareThreads(const Grid& grid) {
  blockDim = grid.threads;
  shared_bytes_ = grid.shared_bytes;
  num_threads_ = static_cast<int>(Count(grid.threads));
  num_warps_ = (num_threads_ + kLanes - 1) / kLanes;
  QUIRE_CHECK(num_threads_ > 0 && num_threads_ <= kMaxBlockThreads && shared_bytes_ <= kMaxSharedBytes);
  warps_.resize(num_warps_);
  threads_.reserve(kMaxBlockThreads);
  while (static_cast<int>(threads_.size()) < num_threads_) {
    threads_.emplace_back().fiber = std::make_unique<Fiber>([this] {
      (*thread_)();
      OnReturn();
    });
  }
  for (int i = 0; i < num_threads_; ++i) threads_[i].index = IndexIn(grid.threads, i);
}

void BlockRunner::RunBlock() {
  FillSharedMemory();
  async_.Begin(num_threads_);
  idle_turns_ = 0;
  num_returned_ = 0;
  num_at_barrier_ = 0;
  ready_.resize(num_warps_);
  for (int warp = 0; warp < num_warps_; ++warp) {
    const int lanes = std::min(kLanes, num_threads_ - warp * kLanes);
    warps_[warp] = Warp();
    warps_[warp].runnable = ~uint32_t{0} >> (kLanes - lanes);
    ready_[warp] = warp;
  }
  for (;;) {
    while (!ready_.empty()) {
      const size_t chosen = Random() % ready_.size();
      const int warp = ready_[chosen];
      RunWarp(warp);
      if (warps_[warp].runnable != 0) continue;
      if (warps_[warp].at_collective != 0) FailIncomplete(warp);
      ready_[chosen] = ready_.back();
      ready_.pop_back();
    }
    if (num_returned_ == num_threads_) break;
    ReleaseBarrier();
  }
  CheckGuards();
  if (const std::string unfinished = async_.Unfinished(); !unfinished.empty()) Fail("has ended, and " + unfinished);
}

// Gives each runnable lane a turn, in an order that no two calls need share.
void BlockRunner::RunWarp(int warp) {
  const uint64_t random = Random();
  const unsigned start = random & (kLanes - 1);
  const unsigned step = (random >> 8 & (kLanes - 1)) | 1;
  for (unsigned i = 0; i < kLanes; ++i) {
    const int lane = (start + i * step) & (kLanes - 1);
    if (warps_[warp].runnable >> lane & 1) {
      warps_[warp].runnable &= ~(uint32_t{1} << lane);
      RunThread(warp * kLanes + lane);
    }
  }
}

void BlockRunner::RunThread(int thread) {
  current_ = thread;
  threadIdx = threads_[thread].index;
  threads_[thread].fiber->Resume();
}

void BlockRunner::OnReturn() {
  Thread& thread = threads_[current_];
  thread.copies.clear();  // What nobody waited for nobody sees.
  thread.group = 0;
  if (!thread.products.empty()) Fail(absl::StrCat("thread ", current_, " has ended before its products"));
  thread.product_group = 0;
  idle_turns_ = 0;
  warps_[current_ / kLanes].returned |= uint32_t{1} << lane();
  ++num_returned_;
  thread.fiber->Suspend();
}

void BlockRunner::SyncBlock(const Caller& caller) {
  if (num_at_barrier_ == 0) {
    first_at_barrier_ = current_;
    barrier_caller_ = caller;
  } else if (!SamePlace(caller, barrier_caller_)) {
    Fail(absl::StrCat("thread ", first_at_barrier_, " is at SyncBlock at ", Place(barrier_caller_), ", thread ",
                      current_, " at another at ", Place(caller)));
  }
  ++num_at_barrier_;
  idle_turns_ = 0;
  warps_[current_ / kLanes].at_barrier |= uint32_t{1} << lane();
  threads_[current_].fiber->Suspend();
}

// No thread can run; all must have come to the barrier.
void BlockRunner::ReleaseBarrier() {
  if (num_at_barrier_ != num_threads_) {
    Fail(absl::StrCat(num_at_barrier_, " of ", num_threads_, " threads are at SyncBlock at ", Place(barrier_caller_),
                      ", the others have returned"));
  }
  num_at_barrier_ = 0;
  for (int warp = 0; warp < num_warps_; ++warp) {
    warps_[warp].runnable = std::exchange(warps_[warp].at_barrier, 0);
    ready_.push_back(warp);
  }
}

void BlockRunner::WarpCollective(const char* operation, void* operands, void (*combine)(void* const*),
                                 const Caller& caller) {
  Warp& warp = warps_[current_ / kLanes];
  const uint32_t own = uint32_t{1} << lane();
  if (warp.at_collective == 0) {
    warp.operation = operation;
    warp.caller = caller;
  } else if (!SameText(operation, warp.operation) || !SamePlace(caller, warp.caller)) {
    Fail(absl::StrCat("warp ", current_ / kLanes, ": some lanes are at ", warp.operation, " at ", Place(warp.caller),
                      ", lane ", lane(), " at ", operation, " at ", Place(caller)));
  }
  idle_turns_ = 0;
  warp.operands[lane()] = operands;
  warp.at_collective |= own;
  if (warp.at_collective != ~uint32_t{0}) {
    threads_[current_].fiber->Suspend();
    return;
  }
  combine(warp.operands);
  warp.at_collective = 0;
  warp.runnable = ~own;
}

void BlockRunner::FailIncomplete(int warp) const {
  const Warp& state = warps_[warp];
  Fail(absl::StrCat("warp ", warp, ": ", std::popcount(state.at_collective), " of ", kLanes, " lanes are at ",
                    state.operation, " at ", Place(state.caller), "; ", std::popcount(state.returned),
                    " have returned, and ", std::popcount(state.at_barrier), " are at SyncBlock",
                    num_at_barrier_ > 0 ? absl::StrCat(" at ", Place(barrier_caller_)) : ""));
}

std::byte* BlockRunner::shared_memory() { return shared_storage + kGuardBytes; }

void BlockRunner::FillSharedMemory() {
  std::byte* const begin = shared_memory();
  std::byte* const end = begin + shared_bytes_;
  Allow(shared_storage, sizeof(shared_storage));
  std::fill(begin - kGuardBytes, begin, kGuard);
  std::memset(begin, kUndefined, shared_bytes_);
  std::fill(end, end + kGuardBytes, kGuard);
  Forbid(begin - kGuardBytes, kGuardBytes);
  Forbid(end, sizeof(shared_storage) - kGuardBytes - shared_bytes_);
}

void BlockRunner::CheckGuards() {
  Allow(shared_storage, sizeof(shared_storage));
  const std::byte* const begin = shared_memory();
  const std::byte* const end = begin + shared_bytes_;
  const auto is_guard = [](std::byte byte) { return byte == kGuard; };
  if (!std::all_of(begin - kGuardBytes, begin, is_guard)) Fail("wrote in front of its shared memory");
  if (!std::all_of(end, end + kGuardBytes, is_guard)) {
    Fail(absl::StrCat("wrote behind its ", shared_bytes_, " bytes of shared memory"));
  }
}

void BlockRunner::CheckShared(const void* address, size_t bytes, const char* operation, const Caller& caller) const {
  const auto offset = reinterpret_cast<intptr_t>(address) - reinterpret_cast<intptr_t>(shared_storage + kGuardBytes);
  if (offset < 0 || offset + bytes > shared_bytes_) {
    Fail(absl::StrCat("thread ", current_, ": ", operation, " at ", Place(caller), " outside of shared memory: offset ",
                      offset, " of ", shared_bytes_, " bytes"));
  }
  if (offset % bytes != 0) {
    Fail(absl::StrCat("thread ", current_, ": ", operation, " at ", Place(caller), " at offset ", offset,
                      " of shared memory, which is no multiple of ", bytes));
  }
}

void BlockRunner::CopyAsync(std::byte* shared, const std::byte* global, bool valid, const Caller& caller) {
  constexpr size_t kBytes = 16;
  CheckShared(shared, kBytes, "CopyAsync16", caller);
  if (reinterpret_cast<uintptr_t>(global) % kBytes != 0) {
    Fail(absl::StrCat("thread ", current_, ": CopyAsync16 at ", Place(caller),
                      " from an address that is no multiple of ", kBytes));
  }
  std::memset(shared, kUndefined, kBytes);
  Thread& thread = threads_[current_];
  thread.copies.push_back({shared, valid ? global : nullptr, thread.group});
}

void BlockRunner::CommitCopies() { ++threads_[current_].group; }

void BlockRunner::WaitCopies(int pending) {
  Thread& thread = threads_[current_];
  size_t done = 0;
  for (; done < thread.copies.size() && thread.copies[done].group < thread.group - pending; ++done) {
    const Copy& copy = thread.copies[done];
    if (copy.from == nullptr) {
      std::memset(copy.to, 0, 16);
    } else {
      std::memcpy(copy.to, copy.from, 16);
    }
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

void BlockRunner::EnqueueProduct(WarpgroupProduct product) {
  Thread& thread = threads_[current_];
  product.group = thread.product_group;
  thread.products.push_back(product);
}

void BlockRunner::WaitProducts(int pending, const Caller& caller) {
  Thread& thread = threads_[current_];
  const auto multiply = [](void* const* lanes) {
    const BlockRunner& runner = Get();
    const std::string wrong = MultiplyTile(lanes, shared_storage + kGuardBytes, runner.shared_bytes_);
    if (!wrong.empty()) runner.Fail("Wgmma of " + wrong);
  };
  size_t done = 0;
  for (; done < thread.products.size() && thread.products[done].group < thread.product_group - pending; ++done) {
    WarpgroupProduct product = thread.products[done];
    WarpCollective("Wgmma", &product, multiply, caller);
  }
  thread.products.erase(thread.products.begin(), thread.products.begin() + static_cast<std::ptrdiff_t>(done));
}

void BlockRunner::WaitUntil(absl::FunctionRef<bool()> holds, const char* operation, const Caller& caller) {
  while (!holds()) {
    if (++idle_turns_ > kMostIdleTurns * num_threads_) {
      Fail(absl::StrCat("nobody gets on: thread ", current_, " is in ", operation, " at ", Place(caller)));
    }
    warps_[current_ / kLanes].runnable |= uint32_t{1} << lane();
    threads_[current_].fiber->Suspend();
  }
  idle_turns_ = 0;
}

// SplitMix64, of Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
uint64_t BlockRunner::Random() {
  uint64_t x = random_ += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

void BlockRunner::Fail(const std::string& message) const {
  std::fprintf(stderr, "CUDA shim: block (%u, %u, %u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z, message.c_str());
  std::abort();
}

}  // namespace quire::cuda_shim
