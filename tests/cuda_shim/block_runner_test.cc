// Barriers, warp collectives and shared memory of the emulated device, and what it says of kernels that misuse them.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

__global__ void ReverseThroughSharedMemory(const int* input, int* output) {
  int* const shared = reinterpret_cast<int*>(SharedMemory());
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  const int first = static_cast<int>(blockIdx.x) * count;
  shared[thread] = input[first + thread];
  SyncBlock();
  output[first + thread] = shared[count - 1 - thread];
}

TEST(BlockRunner, ABarrierMakesWritesOfAllThreadsVisible) {
  constexpr int kThreads = 128, kBlocks = 5;
  std::vector<int> input(kThreads * kBlocks), output(input.size());
  std::iota(input.begin(), input.end(), 0);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    cuda_shim::SetSchedulingSeed(seed);
    const LaunchShape shape = {.grid = kBlocks, .block = kThreads, .shared_bytes = kThreads * sizeof(int)};
    ASSERT_EQ(Launch(ReverseThroughSharedMemory, shape, input.data(), output.data()), cudaSuccess);
    for (int i = 0; i < kThreads * kBlocks; ++i) {
      ASSERT_EQ(output[i], i / kThreads * kThreads + kThreads - 1 - i % kThreads) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace quire
