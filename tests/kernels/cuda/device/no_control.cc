// What a real device does of tests/cuda_shim/control.h: nothing, but for the heap. Tests that rest on it ask
// IsEmulated() and are skipped.
#include "tests/cuda_shim/control.h"

#include "tests/kernels/cuda/device/managed_memory.h"

namespace quire::cuda_shim {

bool IsEmulated() { return false; }
void FailNext(Call, cudaError_t, int) {}
void Reset() {}
void SetSchedulingSeed(uint64_t) {}
void SetHopper(bool) {}
void SetDeviceMemory(size_t) {}
size_t DeviceBytesInUse() { return 0; }
size_t PinnedBytesInUse() { return 0; }
void FreeLeaked() {}
void SetDeferred(bool) {}
int64_t NumKernelsRun() { return 0; }
OrdinaryHeap::OrdinaryHeap() { PauseManagedMemory(); }
OrdinaryHeap::~OrdinaryHeap() { ResumeManagedMemory(); }

}  // namespace quire::cuda_shim
