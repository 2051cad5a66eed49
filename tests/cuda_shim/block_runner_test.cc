// Barriers, warp collectives and shared memory of the emulated device, and what it says of kernels that misuse them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

__global__ void RecordIndices(unsigned* visits) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  ++visits[block * blockDim.x * blockDim.y * blockDim.z + thread];
}

TEST(BlockRunner, EveryThreadOfAGridRunsOnce) {
  std::vector<unsigned> visits(2 * 3 * 4 * 8 * 4 * 3);
  const LaunchShape shape = {.grid = {2, 3, 4}, .block = {8, 4, 3}};
  ASSERT_EQ(Launch(RecordIndices, shape, visits.data()), cudaSuccess);
  EXPECT_EQ(visits, std::vector<unsigned>(visits.size(), 1));
}

__global__ void ManyBarriers(int* counts, int rounds) {
  int* const shared = reinterpret_cast<int*>(SharedMemory());
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  shared[thread] = thread;
  for (int round = 0; round < rounds; ++round) {
    SyncBlock();
    const int next = shared[(thread + 1) % count];
    SyncBlock();
    shared[thread] = next;
  }
  counts[thread] = shared[thread];
}

TEST(BlockRunner, ThreadsMeetAtManyBarriers) {
  constexpr int kThreads = 1024;
  std::vector<int> counts(kThreads);
  const LaunchShape shape = {.block = kThreads, .shared_bytes = kThreads * sizeof(int)};
  ASSERT_EQ(Launch(ManyBarriers, shape, counts.data(), 50), cudaSuccess);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(counts[i], (i + 50) % kThreads);
}

__global__ void ForgetBarrier(int* output) {
  int* const shared = reinterpret_cast<int*>(SharedMemory());
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  shared[thread] = thread;
  output[thread] = shared[(thread + count / 2) % count];
}

TEST(BlockRunner, AMissingBarrierShows) {
  for (int threads : {32, 64}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      cuda_shim::SetSchedulingSeed(seed);
      std::vector<int> output(threads);
      const LaunchShape shape = {.block = threads, .shared_bytes = threads * sizeof(int)};
      ASSERT_EQ(Launch(ForgetBarrier, shape, output.data()), cudaSuccess);
      EXPECT_GT(std::count(output.begin(), output.end(), -1), 0) << threads << " threads, seed " << seed;
    }
  }
}

__global__ void WriteOrder(int* next, int* order) { order[(*next)++] = static_cast<int>(blockIdx.x); }

std::vector<int> BlockOrder(uint64_t seed) {
  cuda_shim::SetSchedulingSeed(seed);
  std::vector<int> order(20);
  int next = 0;
  EXPECT_EQ(Launch(WriteOrder, LaunchShape{.grid = 20}, &next, order.data()), cudaSuccess);
  return order;
}

TEST(BlockRunner, TheOrderOfBlocksFollowsFromTheSeed) {
  EXPECT_EQ(BlockOrder(3), BlockOrder(3));
  EXPECT_NE(BlockOrder(3), BlockOrder(4));
}

__global__ void ReadShared(float* output) { *output = *reinterpret_cast<const float*>(SharedMemory()); }
__global__ void WriteShared() { *reinterpret_cast<float*>(SharedMemory()) = 1; }

TEST(BlockRunner, SharedMemoryIsUndefinedAtFirst) {
  float output = 0;
  ASSERT_EQ(Launch(WriteShared, LaunchShape{.shared_bytes = 4}), cudaSuccess);
  ASSERT_EQ(Launch(ReadShared, LaunchShape{.shared_bytes = 4}, &output), cudaSuccess);
  EXPECT_TRUE(std::isnan(output));
}

// What a device may hang on, or not notice, ends the process here.
class BlockRunnerDeathTest : public testing::Test {
 protected:
  template <typename... Parameters, typename... Arguments>
  static void Run(void (*kernel)(Parameters...), int threads, Arguments... args) {
    (void)Launch(kernel, LaunchShape{.block = threads, .shared_bytes = 64}, args...);
  }
};

__global__ void ReturnBeforeBarrier() {
  if (threadIdx.x == 3) return;
  SyncBlock();
}

TEST_F(BlockRunnerDeathTest, AThreadThatReturnsBeforeABarrierIsNoticed) {
  EXPECT_DEATH(Run(ReturnBeforeBarrier, 64), "63 of 64 threads are at SyncBlock at .*, the others have returned");
}

__global__ void TwoBarriers() {
  if (threadIdx.x % 2 == 0) {
    SyncBlock();
  } else {
    SyncBlock();
  }
}

TEST_F(BlockRunnerDeathTest, BarriersOfTwoPlacesAreNotTheSame) {
  EXPECT_DEATH(Run(TwoBarriers, 64), "thread .* is at SyncBlock at .*, thread .* at another at");
}

__global__ void ReturnBeforeShuffle(int* output) {
  if (threadIdx.x == 40) return;
  output[threadIdx.x] = ShuffleXor(1, 1);
}

TEST_F(BlockRunnerDeathTest, ALaneThatReturnsBeforeAWarpCollectiveIsNoticed) {
  std::vector<int> output(64);
  EXPECT_DEATH(Run(ReturnBeforeShuffle, 64, output.data()),
               "warp 1: 31 of 32 lanes are at ShuffleXor at .*; 1 have returned");
}

TEST_F(BlockRunnerDeathTest, AWarpThatIsNotFullHasNoCollectives) {
  std::vector<int> output(64);
  EXPECT_DEATH(Run(ReturnBeforeShuffle, 16, output.data()), "warp 0: 16 of 32 lanes are at ShuffleXor");
}

__global__ void BarrierInPartOfAWarp() {
  if (threadIdx.x < 8) {
    SyncBlock();
  } else {
    SyncWarp();
  }
}

TEST_F(BlockRunnerDeathTest, LanesAtABarrierDoNotMeetThoseAtAWarpCollective) {
  EXPECT_DEATH(Run(BarrierInPartOfAWarp, 32), "24 of 32 lanes are at SyncWarp at .* 8 are at SyncBlock at");
}

__global__ void TwoCollectives() {
  if (threadIdx.x < 8) {
    (void)Any(true);
  } else {
    (void)Ballot(true);
  }
}

TEST_F(BlockRunnerDeathTest, WarpCollectivesOfTwoKindsAreNotTheSame) {
  EXPECT_DEATH(Run(TwoCollectives, 32), "warp 0: some lanes are at (Any|Ballot) at .*, lane .* at (Any|Ballot) at");
}

__global__ void WriteBehindSharedMemory(int offset) { SharedMemory()[offset] = std::byte{0}; }

TEST_F(BlockRunnerDeathTest, WritesOutsideOfSharedMemoryAreNoticed) {
  Run(WriteBehindSharedMemory, 1, 63);
  // AddressSanitizer, where it is on, is faster.
  EXPECT_DEATH(Run(WriteBehindSharedMemory, 1, 64), "wrote behind its 64 bytes of shared memory|use-after-poison");
  EXPECT_DEATH(Run(WriteBehindSharedMemory, 1, -1), "wrote in front of its shared memory|use-after-poison");
}

__global__ void CopyTo(int offset, const float* from) { CopyAsync16(SharedMemory() + offset, from, true); }

TEST_F(BlockRunnerDeathTest, AsynchronousCopiesAreOf16AlignedBytesInSharedMemory) {
  alignas(16) float from[8] = {};
  Run(CopyTo, 1, 48, from);
  EXPECT_DEATH(Run(CopyTo, 1, 8, from), "CopyAsync16 at .* at offset 8 of shared memory, which is no multiple of 16");
  EXPECT_DEATH(Run(CopyTo, 1, 64, from), "CopyAsync16 at .* outside of shared memory: offset 64 of 64 bytes");
  EXPECT_DEATH(Run(CopyTo, 1, 0, from + 1), "CopyAsync16 at .* from an address that is no multiple of 16");
}

__global__ void LoadFrom(int offset) {
  uint32_t loaded[4];
  LoadMatrix4(loaded, SharedMemory() + offset);
}

TEST_F(BlockRunnerDeathTest, MatrixLoadsAreOf16AlignedBytesInSharedMemory) {
  EXPECT_DEATH(Run(LoadFrom, 32, 4), "LoadMatrix4 at .* at offset 4 of shared memory");
  EXPECT_DEATH(Run(LoadFrom, 32, 64), "LoadMatrix4 at .* outside of shared memory");
}

}  // namespace
}  // namespace quire
