// What kernels/cuda/hopper.cuh is made of on the host.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/cuda_shim/async_units.h"
#include "tests/cuda_shim/block_runner.h"
#include "tests/cuda_shim/cuda_shim.h"

namespace quire::cuda_shim {
namespace {

bool has_hopper = false;

std::string Place(const Caller& caller) { return absl::StrCat(" at ", caller.file_name(), ":", caller.line()); }

BarrierWord& BarrierAt(uint64_t* bits, const char* operation, const Caller& caller) {
  BlockRunner::Get().CheckShared(bits, sizeof(*bits), operation, caller);
  auto& barrier = *reinterpret_cast<BarrierWord*>(bits);
  if (barrier.is_made != BarrierWord::kMade) {
    BlockRunner::Get().Fail(absl::StrCat(operation, Place(caller), " with a barrier that was not initialised"));
  }
  return barrier;
}

}  // namespace

bool HasHopper() { return has_hopper; }
void SetHopper(bool has) { has_hopper = has; }

uint32_t SharedOffset(const void* shared) {
  return static_cast<uint32_t>(static_cast<const std::byte*>(shared) - BlockRunner::Get().shared_memory());
}

void Wgmma(float* d, int num_columns, const uint32_t* a, uint64_t b, bool transposed, bool accumulate) {
  BlockRunner::Get().EnqueueProduct({d, num_columns, a, b, /*is_float8=*/false, transposed, accumulate, /*group=*/0});
}

void WgmmaFloat8(float* d, int num_columns, const uint32_t* a, uint64_t b, bool accumulate) {
  BlockRunner::Get().EnqueueProduct({d, num_columns, a, b, /*is_float8=*/true, false, accumulate, /*group=*/0});
}

void WgmmaCommit() { BlockRunner::Get().CommitProducts(); }

void WgmmaWait(int pending, const Caller& caller) { BlockRunner::Get().WaitProducts(pending, caller); }

void InitBarrier(uint64_t* bits, int arrivals, const Caller& caller) {
  BlockRunner::Get().CheckShared(bits, sizeof(*bits), "Init", caller);
  *reinterpret_cast<BarrierWord*>(bits) = {.arrivals = static_cast<int8_t>(arrivals),
                                           .pending = static_cast<int8_t>(arrivals),
                                           .phase = 0,
                                           .is_made = BarrierWord::kMade,
                                           .bytes = 0};
}

void ArriveAtBarrier(uint64_t* bits, int bytes, const Caller& caller) {
  BarrierWord& barrier = BarrierAt(bits, "Arrive", caller);
  if (barrier.pending == 0) BlockRunner::Get().Fail(absl::StrCat("Arrive", Place(caller), " once too often"));
  barrier.bytes += bytes;
  --barrier.pending;
  barrier.Advance();
}

void WaitAtBarrier(uint64_t* bits, int parity, const Caller& caller) {
  BarrierWord& barrier = BarrierAt(bits, "Wait", caller);
  BlockRunner& runner = BlockRunner::Get();
  const auto has_ended = [&] { return (barrier.phase & 1) != parity; };
  runner.WaitUntil(
      [&] {
        if (!has_ended() && runner.async().has_copies()) runner.async().CopyOne(runner.Random());
        return has_ended();
      },
      "Wait", caller);
}

void CopyBulk(void* shared, const void* global, int bytes, uint64_t* barrier, const Caller& caller) {
  BlockRunner& runner = BlockRunner::Get();
  runner.CheckShared(shared, 16, "CopyBulk", caller);
  if (bytes <= 0 || bytes % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    runner.Fail(
        absl::StrCat("CopyBulk", Place(caller), " of ", bytes, " bytes, or from an address that is no multiple of 16"));
  }
  runner.CheckShared(static_cast<std::byte*>(shared) + bytes - 16, 16, "CopyBulk", caller);
  std::memset(shared, 0xff, bytes);
  runner.async().Enqueue({static_cast<std::byte*>(shared), static_cast<const std::byte*>(global), bytes,
                          &BarrierAt(barrier, "CopyBulk", caller)});
}

void ArriveThreads(int number, int threads, const Caller& caller) {
  BlockRunner& runner = BlockRunner::Get();
  const std::string wrong = runner.async().ArriveAtNamed(number, threads);
  if (!wrong.empty()) runner.Fail(absl::StrCat("ArriveThreads", Place(caller), ": ", wrong));
}

void SyncThreads(int number, int threads, const Caller& caller) {
  BlockRunner& runner = BlockRunner::Get();
  const int64_t phase = runner.async().named_barrier(number).phase;
  ArriveThreads(number, threads, caller);
  runner.WaitUntil([&] { return runner.async().named_barrier(number).phase != phase; }, "SyncThreads", caller);
}

void GiveRegisters(int registers, const Caller& caller) {
  BlockRunner& runner = BlockRunner::Get();
  if (runner.async().GiveRegisters(runner.thread(), registers)) return;
  runner.Fail(absl::StrCat("GiveRegisters", Place(caller), " to more than there are"));
}

void TakeRegisters(int registers, const Caller& caller) {
  BlockRunner& runner = BlockRunner::Get();
  runner.WaitUntil([&] { return runner.async().TakeRegisters(runner.thread(), registers); }, "TakeRegisters", caller);
}

}  // namespace quire::cuda_shim
