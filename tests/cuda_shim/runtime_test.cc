// Memory, errors and injected faults of the emulated runtime, and the wrappers of kernels/cuda over them.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

using cuda_shim::Call;
using cuda_shim::FailNext;

class CudaShimRuntime : public testing::Test {
 protected:
  void SetUp() override { cuda_shim::Reset(); }
  void TearDown() override {
    cuda_shim::Reset();
    EXPECT_EQ(cuda_shim::DeviceBytesInUse(), 0u);
    EXPECT_EQ(cuda_shim::PinnedBytesInUse(), 0u);
  }
};

__global__ void Fill(float* output, float value) { output[blockIdx.x * blockDim.x + threadIdx.x] = value; }

TEST_F(CudaShimRuntime, MemoryIsAlignedAndStartsUndefined) {
  const auto memory = DeviceMemory::Allocate(1000, "a test");
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->size(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 256, 0u);
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), 1000u);
  std::vector<std::byte> bytes(1000);
  ASSERT_EQ(cudaMemcpy(bytes.data(), memory->data(), 1000, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(bytes, std::vector<std::byte>(1000, std::byte{0xff}));
}

TEST_F(CudaShimRuntime, MemoryIsFreedWithItsOwner) {
  auto memory = DeviceMemory::Allocate(100, "a test").value();
  auto pinned = PinnedMemory::Allocate(50, "a test").value();
  memory = DeviceMemory::Allocate(200, "a test").value();
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), 200u);
  EXPECT_EQ(cuda_shim::PinnedBytesInUse(), 50u);
  memory = DeviceMemory();
  pinned = PinnedMemory();
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), 0u);
  EXPECT_EQ(cuda_shim::PinnedBytesInUse(), 0u);
}

TEST_F(CudaShimRuntime, NoBytesAreNoMemoryAndNoError) {
  EXPECT_EQ(DeviceMemory::Allocate(0, "nothing").value().data(), nullptr);
  EXPECT_EQ(PinnedMemory::Allocate(0, "nothing").value().data(), nullptr);
}

TEST_F(CudaShimRuntime, WhatExceedsTheDeviceIsRefusedWithAdvice) {
  cuda_shim::SetDeviceMemory(1000);
  const auto held = DeviceMemory::Allocate(600, "weights").value();
  const absl::Status refused = DeviceMemory::Allocate(401, "the KV cache").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("cannot allocate 401 bytes of device memory for the KV cache"), std::string::npos);
  EXPECT_NE(refused.message().find("lower --kv-cache-memory"), std::string::npos);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  size_t free_bytes = 0, total_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, 400u);
  EXPECT_EQ(total_bytes, 1000u);
  EXPECT_TRUE(DeviceMemory::Allocate(400, "the KV cache").ok());
}

TEST_F(CudaShimRuntime, ACallFailsAsItIsTold) {
  FailNext(Call::kMallocHost, cudaErrorMemoryAllocation, 1);
  EXPECT_TRUE(PinnedMemory::Allocate(8, "a test").ok());
  EXPECT_EQ(PinnedMemory::Allocate(8, "a test").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(PinnedMemory::Allocate(8, "a test").ok());
}

TEST_F(CudaShimRuntime, AnErrorIsRememberedUntilItIsAskedFor) {
  float x = 0;
  FailNext(Call::kLaunch, cudaErrorLaunchOutOfResources);
  EXPECT_EQ(Launch(Fill, LaunchShape{}, &x, 1.0f), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(x, 0);
  EXPECT_EQ(Launch(Fill, LaunchShape{}, &x, 2.0f), cudaSuccess);
  EXPECT_EQ(x, 2);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudaShimRuntime, AKernelThatFailsTakesTheDeviceWithIt) {
  float x = 0;
  auto memory = DeviceMemory::Allocate(8, "a test").value();
  FailNext(Call::kExecution, cudaErrorIllegalAddress);
  EXPECT_EQ(Launch(Fill, LaunchShape{}, &x, 1.0f), cudaSuccess);
  EXPECT_EQ(x, 0);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(Launch(Fill, LaunchShape{}, &x, 1.0f), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(DeviceMemory::Allocate(8, "a test").status().code(), absl::StatusCode::kUnavailable);
  memory = DeviceMemory();  // Is not freed.
  EXPECT_EQ(cuda_shim::DeviceBytesInUse(), 8u);
  cuda_shim::Reset();
  EXPECT_EQ(Launch(Fill, LaunchShape{}, &x, 1.0f), cudaSuccess);
  EXPECT_EQ(x, 1);
  cuda_shim::FreeLeaked();
}

TEST_F(CudaShimRuntime, StatusesTellLostDevicesFromBugs) {
  EXPECT_TRUE(ToStatus(cudaSuccess, "wait").ok());
  EXPECT_EQ(ToStatus(cudaErrorLaunchFailure, "wait").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ToStatus(cudaErrorNoDevice, "start").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ToStatus(cudaErrorInvalidValue, "copy").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ToStatus(cudaErrorInvalidValue, "copy a page").message(),
            "copy a page: invalid argument (cudaErrorInvalidValue)");
}

TEST_F(CudaShimRuntime, AfterWhichErrorsADeviceIsLostIsKnownTwice) {
  for (int code = 1; code < 1000; ++code) {
    const auto error = static_cast<cudaError_t>(code);
    FailNext(Call::kDevice, error);
    int count = 0;
    EXPECT_EQ(cudaGetDeviceCount(&count), error);
    EXPECT_EQ(cudaGetDeviceCount(&count), LosesDevice(error) ? error : cudaSuccess) << code;
    cuda_shim::Reset();
  }
}

TEST_F(CudaShimRuntime, LaunchesThatADeviceCannotCarryOutAreRefused) {
  float x = 0;
  const LaunchShape impossible[] = {{.grid = 0}, {.block = 1025}, {.grid = {1, 65536}}, {.block = {1, 1, 65}},
                                    {.block = {64, 64}}};
  for (const LaunchShape& shape : impossible) {
    EXPECT_EQ(Launch(Fill, shape, &x, 1.0f), cudaErrorInvalidConfiguration);
  }
  EXPECT_EQ(Launch(Fill, LaunchShape{.shared_bytes = (100 << 10) + 1}, &x, 1.0f), cudaErrorInvalidValue);
  EXPECT_EQ(x, 0);
  EXPECT_EQ(Launch(Fill, LaunchShape{.shared_bytes = 100 << 10}, &x, 1.0f), cudaSuccess);
}

TEST_F(CudaShimRuntime, MoreSharedMemoryThanUsualMustBeAskedFor) {
  float x = 0;
  cudaLaunchConfig_t config = {};
  config.dynamicSmemBytes = (48 << 10) + 1;
  EXPECT_EQ(cudaLaunchKernelEx(&config, Fill, &x, 1.0f), cudaErrorInvalidValue);
  ASSERT_EQ(cudaFuncSetAttribute(Fill, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10), cudaSuccess);
  EXPECT_EQ(cudaLaunchKernelEx(&config, Fill, &x, 1.0f), cudaSuccess);
}

TEST_F(CudaShimRuntime, CopiesBeyondAnAllocationOrInTheWrongDirectionAreRefused) {
  const auto device = DeviceMemory::Allocate(100, "a test").value();
  std::vector<std::byte> host(200);
  EXPECT_EQ(cudaMemcpy(device.data() + 50, host.data(), 51, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.data() + 50, host.data(), 50, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host.data(), device.data(), 50, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(device.data() + 99, 0, 2), cudaErrorInvalidValue);
}

TEST_F(CudaShimRuntime, TheDeviceIsAsAnnounced) {
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.multiProcessorCount, 4);
  EXPECT_EQ(properties.major, 9);
  int value = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(value, 100 << 10);
  FailNext(Call::kDevice, cudaErrorNoDevice);
  EXPECT_EQ(cudaGetDeviceCount(&value), cudaErrorNoDevice);
  EXPECT_EQ(value, 0);
}

}  // namespace
}  // namespace quire
