// How tests steer the host shim of the CUDA runtime, and what they may ask it. In programs that run the same tests on a
// real device all of this does nothing (tests/kernels/cuda/device/no_control.cc).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace quire::cuda_shim {

// Whether there is something to steer. Tests that are about it are skipped where there is not.
bool IsEmulated();

// The kinds of calls that can be made to fail.
enum class Call {
  kMalloc,       // cudaMalloc
  kMallocHost,   // cudaMallocHost, cudaHostAlloc
  kFree,         // cudaFree, cudaFreeHost
  kCopy,         // cudaMemcpy*, cudaMemset*
  kLaunch,       // A launch is refused.
  kExecution,    // A launch is accepted and the kernel fails: from when it would have run, the device is lost.
  kSynchronize,  // cudaStreamSynchronize, cudaDeviceSynchronize, cudaEventSynchronize, and the queries
  kStream,       // Making streams and events, recording events and waiting for them on a stream
  kGraph,        // Capturing, instantiating and launching graphs
  kDevice,       // Questions about the device
};

// The next call of this kind, or the next after `after` others, fails with `error` and does nothing. An error that a
// device does not recover from (cudaErrorIllegalAddress and the like) is then what every call returns until Reset.
// Several may be set up; those of one kind take their turns in order.
void FailNext(Call call, cudaError_t error, int after = 0);

// As when the process started: no errors, no captures, no faults to come, usual limits and order. Memory, streams,
// events and graphs remain; work that was deferred and not waited for is dropped.
void Reset();

// What the order of blocks, warps and lanes follows from.
void SetSchedulingSeed(uint64_t seed);

// Whether the device has what kernels/cuda/hopper.cuh is for; at first not.
void SetHopper(bool has);

// How much device memory there is: 1 GiB at first. What is in use may exceed it.
void SetDeviceMemory(size_t bytes);
size_t DeviceBytesInUse();
size_t PinnedBytesInUse();
// Frees what is in use, of both kinds: what owners could not free since the device was lost.
void FreeLeaked();

// Whether work of streams other than the default one is left undone until somebody waits for it, so that whoever
// forgets to wait finds old contents, and whoever reuses pinned memory too early spoils it.
void SetDeferred(bool deferred);

// Kernels launched and run so far, those in graphs included.
int64_t NumKernelsRun();

// While one exists, `new` of its thread takes ordinary memory. On a real device it takes memory that the device can
// address, in which the operating system lets no thread wait: whatever threads wait on is made under one of these.
class OrdinaryHeap {
 public:
  OrdinaryHeap();
  ~OrdinaryHeap();
  OrdinaryHeap(const OrdinaryHeap&) = delete;
  OrdinaryHeap& operator=(const OrdinaryHeap&) = delete;
};

}  // namespace quire::cuda_shim
