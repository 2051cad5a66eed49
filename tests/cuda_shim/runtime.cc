// Errors, the device, and memory.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "tests/cuda_shim/block_runner.h"
#include "tests/cuda_shim/control.h"
#include "tests/cuda_shim/runtime_state.h"
#include "tests/cuda_shim/streams.h"

namespace quire::cuda_shim {
namespace {

constexpr int kUndefined = 0xff;
constexpr size_t kAlignment = 256;

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrorTexts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "an earlier call spoilt the capture"},
};

// Written apart from kernels/cuda/cuda_status.cu, so that tests can compare the two.
bool LosesDevice(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

cudaError_t Allocate(void** pointer, size_t bytes, RuntimeState::Allocations& allocations, size_t& bytes_in_use) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  auto* const data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
  if (data == nullptr) return RuntimeState::Get().Record(cudaErrorMemoryAllocation);
  std::memset(data, kUndefined, bytes);
  allocations[data] = bytes;
  bytes_in_use += bytes;
  *pointer = data;
  return cudaSuccess;
}

// Freeing waits for the work that may use the memory.
cudaError_t Free(void* pointer, RuntimeState::Allocations& allocations, size_t& bytes_in_use) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kFree); error != cudaSuccess) return error;
  if (const cudaError_t error = SpoilCaptures(); error != cudaSuccess) return error;
  if (pointer == nullptr) return cudaSuccess;
  const auto found = allocations.find(static_cast<const std::byte*>(pointer));
  if (found == allocations.end()) return state.Record(cudaErrorInvalidValue);
  FinishAllStreams();
  bytes_in_use -= found->second;
  allocations.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

}  // namespace

RuntimeState& RuntimeState::Get() {
  static RuntimeState* const state = new RuntimeState();  // Buffers that live to the end are freed after statics.
  return *state;
}

cudaError_t RuntimeState::Begin(Call call) {
  if (lost()) return lost_;
  const auto same = [call](const Fault& fault) { return fault.call == call; };
  const auto next = std::find_if(faults_.begin(), faults_.end(), same);
  if (next == faults_.end() || next->after-- > 0) return cudaSuccess;
  const cudaError_t error = next->error;
  faults_.erase(next);
  return Record(error);
}

cudaError_t RuntimeState::Record(cudaError_t error) {
  if (error != cudaSuccess) last_ = error;
  if (LosesDevice(error)) lost_ = error;
  return error;
}

cudaError_t RuntimeState::TakeLastError() {
  const cudaError_t error = PeekAtLastError();
  last_ = cudaSuccess;
  return error;
}

void RuntimeState::Reset() {
  faults_.clear();
  last_ = lost_ = cudaSuccess;
  device_bytes = kDeviceBytes;
  deferred = false;
  shared_byte_limits.clear();
}

void FailNext(Call call, cudaError_t error, int after) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  state.AddFault({call, error, after});
}

bool IsEmulated() { return true; }

void Reset() {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  ResetStreams();
  state.Reset();
  SetSchedulingSeed(1);
  SetHopper(false);
}

void SetSchedulingSeed(uint64_t seed) { BlockRunner::Get().SetSeed(seed); }
void SetDeviceMemory(size_t bytes) {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  RuntimeState::Get().device_bytes = bytes;
}

size_t DeviceBytesInUse() {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  return RuntimeState::Get().device_bytes_in_use;
}

size_t PinnedBytesInUse() {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  return RuntimeState::Get().pinned_bytes_in_use;
}

OrdinaryHeap::OrdinaryHeap() = default;  // There is no other.
OrdinaryHeap::~OrdinaryHeap() = default;

int64_t NumKernelsRun() {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  return RuntimeState::Get().num_kernels_run;
}

void FreeLeaked() {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  for (RuntimeState::Allocations* allocations : {&state.device_memory, &state.pinned_memory}) {
    for (const auto& [data, bytes] : *allocations) std::free(const_cast<std::byte*>(data));
    allocations->clear();
  }
  state.device_bytes_in_use = state.pinned_bytes_in_use = 0;
}

void SetDeferred(bool deferred) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  FinishAllStreams();
  state.deferred = deferred;
}

}  // namespace quire::cuda_shim

using quire::cuda_shim::Call;
using quire::cuda_shim::RuntimeState;

// The toolkit's is kept for each thread; this one is everybody's.
cudaError_t cudaGetLastError() {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  return RuntimeState::Get().TakeLastError();
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(RuntimeState::Get().mutex);
  return RuntimeState::Get().PeekAtLastError();
}

const char* cudaGetErrorName(cudaError_t error) {
  for (const auto& known : quire::cuda_shim::kErrorTexts) {
    if (known.error == error) return known.name;
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  for (const auto& known : quire::cuda_shim::kErrorTexts) {
    if (known.error == error) return known.text;
  }
  return "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  const std::lock_guard lock(RuntimeState::Get().mutex);
  if (const cudaError_t error = RuntimeState::Get().Begin(Call::kDevice); error != cudaSuccess) return error;
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kDevice); error != cudaSuccess) return error;
  return device == 0 ? cudaSuccess : state.Record(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kDevice); error != cudaSuccess) return error;
  if (device != 0) return state.Record(cudaErrorInvalidDevice);
  *properties = {.name = "host shim",
                 .totalGlobalMem = state.device_bytes,
                 .sharedMemPerBlock = quire::cuda_shim::kDefaultSharedByteLimit,
                 .sharedMemPerBlockOptin = quire::cuda_shim::MaxSharedBytes(),
                 .sharedMemPerMultiprocessor = quire::cuda_shim::MaxSharedBytes() + 1024,
                 .warpSize = quire::cuda_shim::kLanes,
                 .maxThreadsPerBlock = quire::cuda_shim::kMaxBlockThreads,
                 .multiProcessorCount = 4,
                 .l2CacheSize = 4 << 20,
                 .major = 9,
                 .minor = 0};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return RuntimeState::Get().Record(cudaErrorInvalidValue);
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kDevice); error != cudaSuccess) return error;
  *total_bytes = state.device_bytes;
  *free_bytes = state.device_bytes - std::min(state.device_bytes, state.device_bytes_in_use);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kMalloc); error != cudaSuccess) return error;
  if (const cudaError_t error = quire::cuda_shim::SpoilCaptures(); error != cudaSuccess) return error;
  const size_t free_bytes = state.device_bytes - std::min(state.device_bytes, state.device_bytes_in_use);
  if (bytes > free_bytes) return state.Record(cudaErrorMemoryAllocation);
  return quire::cuda_shim::Allocate(pointer, bytes, state.device_memory, state.device_bytes_in_use);
}

cudaError_t cudaFree(void* pointer) {
  RuntimeState& state = RuntimeState::Get();
  return quire::cuda_shim::Free(pointer, state.device_memory, state.device_bytes_in_use);
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes, unsigned) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kMallocHost); error != cudaSuccess) return error;
  if (const cudaError_t error = quire::cuda_shim::SpoilCaptures(); error != cudaSuccess) return error;
  return quire::cuda_shim::Allocate(pointer, bytes, state.pinned_memory, state.pinned_bytes_in_use);
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  return cudaMallocHost(pointer, bytes, flags);
}

cudaError_t cudaFreeHost(void* pointer) {
  RuntimeState& state = RuntimeState::Get();
  return quire::cuda_shim::Free(pointer, state.pinned_memory, state.pinned_bytes_in_use);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {.ptxVersion = 90, .binaryVersion = 90};
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  RuntimeState& state = RuntimeState::Get();
  const std::lock_guard lock(state.mutex);
  if (const cudaError_t error = state.Begin(Call::kDevice); error != cudaSuccess) return error;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<size_t>(value) > quire::cuda_shim::MaxSharedBytes()) {
    return state.Record(cudaErrorInvalidValue);
  }
  state.shared_byte_limits[function] = static_cast<size_t>(value);
  return cudaSuccess;
}
