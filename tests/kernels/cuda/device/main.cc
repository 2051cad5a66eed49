// Runs the tests of tests/kernels/cuda on the first GPU. Without one it says so and runs none of them.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/kernels/cuda/device/managed_memory.h"

int main(int argc, char** argv) {
  if (const absl::Status status = quire::UseManagedMemory(); !status.ok()) {
    std::fprintf(stderr, "cuda_device_tests: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  testing::InitGoogleMock(&argc, argv);
  const int result = RUN_ALL_TESTS();
  // The heap goes with the device (managed_memory.h). The reset lets compute-sanitizer report what it has found so far.
  std::fflush(nullptr);
  cudaDeviceReset();
  std::_Exit(result);
}
