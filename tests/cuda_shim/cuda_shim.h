// What kernels/cuda/device.cuh is made of on the host: the same functions, with the caller's place for complaints. A
// kernel that breaks a rule ends the process with a message that names the block, the threads and the lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace quire::cuda_shim {

using Caller = std::source_location;

constexpr int kLanes = 32;

// The block's, filled with 0xff bytes when the block starts.
std::byte* SharedMemory();

void SyncBlock(const Caller& caller);
void SyncWarp(const Caller& caller);

// Of the running thread within its warp.
int Lane();

// Waits until all lanes of the warp have come here with the operation of the same name and caller. The last one calls
// combine(operands of all lanes, in order of lanes), which may write to them; then all go on.
void WarpCollective(const char* operation, void* operands, void (*combine)(void* const* lanes), const Caller& caller);

// The x of lane source(own lane).
template <typename T, typename Source>
T Shuffle(T x, const Source& source, const char* operation, const Caller& caller) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  struct Operands {
    T x;
    int source;
    T result;
  };
  Operands own = {x, source(Lane()), x};
  const auto combine = [](void* const* lanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      Operands& operands = *static_cast<Operands*>(lanes[lane]);
      operands.result = static_cast<const Operands*>(lanes[operands.source])->x;
    }
  };
  WarpCollective(operation, &own, combine, caller);
  return own.result;
}

unsigned Ballot(bool predicate, const char* operation, const Caller& caller);

// Lane l's x becomes combine(x of l, x of l ^ 16), and so on with 8, 4, 2 and 1. `Combine` has no state.
template <typename Combine>
float Butterfly(float x, const Combine&, const char* operation, const Caller& caller) {
  const auto combine = [](void* const* lanes) {
    float values[kLanes], next[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) values[lane] = *static_cast<const float*>(lanes[lane]);
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      for (int lane = 0; lane < kLanes; ++lane) next[lane] = Combine()(values[lane], values[lane ^ mask]);
      for (int lane = 0; lane < kLanes; ++lane) values[lane] = next[lane];
    }
    for (int lane = 0; lane < kLanes; ++lane) *static_cast<float*>(lanes[lane]) = values[lane];
  };
  WarpCollective(operation, &x, combine, caller);
  return x;
}

// The destination holds 0xff bytes from CopyAsync16 until WaitCopies: as early as a device may begin to write, and as
// late as it may finish.
void CopyAsync16(void* shared, const void* global, bool valid, const Caller& caller);
void CommitCopies();
void WaitCopies(int pending);

void LoadMatrix4(uint32_t (&r)[4], const void* shared_row, const Caller& caller);
void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row, const Caller& caller);

// For kernels/cuda/hopper.cuh. Whether the device has what that is for; where in the block's shared memory an address
// lies.
bool HasHopper();
uint32_t SharedOffset(const void* shared);
// d has num_columns / 2 floats, a 4 words. They are read and written as late as WgmmaWait: see async_units.h.
void Wgmma(float* d, int num_columns, const uint32_t* a, uint64_t b, bool transposed, bool accumulate);
void WgmmaFloat8(float* d, int num_columns, const uint32_t* a, uint64_t b, bool accumulate);
void WgmmaCommit();
void WgmmaWait(int pending, const Caller& caller);
void InitBarrier(uint64_t* barrier, int arrivals, const Caller& caller);
void ArriveAtBarrier(uint64_t* barrier, int bytes, const Caller& caller);
void WaitAtBarrier(uint64_t* barrier, int parity, const Caller& caller);
void CopyBulk(void* shared, const void* global, int bytes, uint64_t* barrier, const Caller& caller);
void ArriveThreads(int number, int threads, const Caller& caller);
void SyncThreads(int number, int threads, const Caller& caller);
void GiveRegisters(int registers, const Caller& caller);
void TakeRegisters(int registers, const Caller& caller);

// Sums the 16 products of an element in float64, adds the old value, and rounds once.
void MmaBFloat16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Caller& caller);

}  // namespace quire::cuda_shim
