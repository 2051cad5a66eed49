// Memory that both the host and the device can address, behind operator new and delete: tests of kernels hand over
// pointers to what std::vector and the like own. Linking managed_memory.cc replaces the operators.
#pragma once

#include <cstddef>

#include "absl/status/status.h"

namespace quire {

// From here on, operator new takes from a pool of managed memory (cudaMallocManaged); what was allocated before stays
// where it is. An error where there is no device, or none whose managed memory the host may touch while kernels run.
// Once, before there are other threads. The pool is never given back: the program must end without destructors that
// touch it after the device is reset.
absl::Status UseManagedMemory();

// Between the two, this thread's operator new takes ordinary memory; they may be nested.
void PauseManagedMemory();
void ResumeManagedMemory();

}  // namespace quire
