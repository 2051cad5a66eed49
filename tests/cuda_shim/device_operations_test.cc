// Shuffles, votes, matrix instructions and asynchronous copies of the emulated device, against the PTX ISA manual.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs a kernel in one warp, several times, with the lanes in other orders.
template <typename... Parameters, typename... Arguments>
void RunWarp(void (*kernel)(Parameters...), size_t shared_bytes, Arguments... args) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    cuda_shim::SetSchedulingSeed(seed);
    ASSERT_EQ(Launch(kernel, LaunchShape{.block = kWarpSize, .shared_bytes = shared_bytes}, args...), cudaSuccess);
  }
}

struct Shuffled {
  int from_lane_5, wrapped, xor_3, down_7;
  double wide;
};

__global__ void ShuffleAll(Shuffled* results) {
  const int lane = static_cast<int>(threadIdx.x);
  const int x = 100 + lane;
  Shuffled& result = results[lane];
  result.from_lane_5 = Shuffle(x, 5);
  result.wrapped = Shuffle(x, lane + 33);
  result.xor_3 = ShuffleXor(x, 3);
  result.down_7 = ShuffleDown(x, 7);
  result.wide = ShuffleXor(1.0 / (lane + 1), 16);
}

TEST(DeviceOperations, ShufflesMoveValuesBetweenLanes) {
  std::vector<Shuffled> results(kWarpSize);
  RunWarp(ShuffleAll, 0, results.data());
  for (int lane = 0; lane < kWarpSize; ++lane) {
    EXPECT_EQ(results[lane].from_lane_5, 105);
    EXPECT_EQ(results[lane].wrapped, 100 + (lane + 1) % 32);
    EXPECT_EQ(results[lane].xor_3, 100 + (lane ^ 3));
    EXPECT_EQ(results[lane].down_7, 100 + (lane < 25 ? lane + 7 : lane));
    EXPECT_EQ(results[lane].wide, 1.0 / ((lane ^ 16) + 1));
  }
}

__global__ void Vote(int threshold, unsigned* ballots, int* any) {
  const int lane = static_cast<int>(threadIdx.x);
  ballots[lane] = Ballot(lane >= threshold);
  any[lane] = Any(lane >= threshold) ? 1 : 0;
}

TEST(DeviceOperations, VotesTellEveryLaneWhatAllLanesSay) {
  for (int threshold : {0, 1, 31, 32}) {
    std::vector<unsigned> ballots(kWarpSize);
    std::vector<int> any(kWarpSize);
    RunWarp(Vote, 0, threshold, ballots.data(), any.data());
    for (int lane = 0; lane < kWarpSize; ++lane) {
      EXPECT_EQ(ballots[lane], threshold == 32 ? 0 : ~0u << threshold);
      EXPECT_EQ(any[lane], threshold < 32 ? 1 : 0);
    }
  }
}

__global__ void Reduce(const float* input, float* sums, float* shuffled_sums, float* largest) {
  const int lane = static_cast<int>(threadIdx.x);
  float x = input[lane];
  sums[lane] = WarpSum(x);
  largest[lane] = WarpMax(x);
  for (int mask = 16; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  shuffled_sums[lane] = x;
}

TEST(DeviceOperations, ReductionsAreThoseOfTheShufflesTheyStandFor) {
  std::vector<float> input(kWarpSize), sums(kWarpSize), shuffled_sums(kWarpSize), largest(kWarpSize);
  for (int lane = 0; lane < kWarpSize; ++lane) input[lane] = std::ldexp(1.0f + static_cast<float>(lane) / 7, lane % 20);
  RunWarp(Reduce, 0, input.data(), sums.data(), shuffled_sums.data(), largest.data());
  for (int lane = 0; lane < kWarpSize; ++lane) {
    EXPECT_EQ(sums[lane], sums[0]);
    EXPECT_EQ(sums[lane], shuffled_sums[lane]);
    EXPECT_EQ(largest[lane], input[19]);
  }
  input[4] = kNan;
  RunWarp(Reduce, 0, input.data(), sums.data(), shuffled_sums.data(), largest.data());
  EXPECT_TRUE(std::isnan(sums[9]));
  EXPECT_EQ(largest[9], input[19]);
}

// The manual's "Matrix Fragments for mma.m16n8k16 with floating point type", formula by formula: element i of a lane's
// fragment.
int RowOfA(int group_id, int i) { return (0 <= i && i < 2) || (4 <= i && i < 6) ? group_id : group_id + 8; }
int ColumnOfA(int thread_in_group, int i) { return thread_in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0); }
int RowOfB(int thread_in_group, int i) { return thread_in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0); }
int ColumnOfB(int group_id) { return group_id; }
int RowOfD(int group_id, int i) { return i < 2 ? group_id : group_id + 8; }
int ColumnOfD(int thread_in_group, int i) { return thread_in_group * 2 + (i & 1); }

struct Matrices {
  __nv_bfloat16 a[16][16], b[16][8];
  float d[16][8];
};

__global__ void MultiplyAdd(const Matrices* input, float (*output)[8]) {
  const int group_id = static_cast<int>(threadIdx.x) / 4, thread_in_group = static_cast<int>(threadIdx.x) % 4;
  uint32_t a[4] = {}, b[2] = {};
  float d[4];
  for (int i = 0; i < 8; ++i) {
    const uint32_t bits = __bfloat16_as_ushort(input->a[RowOfA(group_id, i)][ColumnOfA(thread_in_group, i)]);
    a[i / 2] |= bits << 16 * (i % 2);
  }
  for (int i = 0; i < 4; ++i) {
    const uint32_t bits = __bfloat16_as_ushort(input->b[RowOfB(thread_in_group, i)][ColumnOfB(group_id)]);
    b[i / 2] |= bits << 16 * (i % 2);
    d[i] = input->d[RowOfD(group_id, i)][ColumnOfD(thread_in_group, i)];
  }
  MmaBFloat16(d, a, b);
  for (int i = 0; i < 4; ++i) output[RowOfD(group_id, i)][ColumnOfD(thread_in_group, i)] = d[i];
}

// Integers that bfloat16 and float32 represent exactly, each position with its own.
Matrices DistinctMatrices() {
  Matrices matrices;
  for (int i = 0; i < 256; ++i) matrices.a[i / 16][i % 16] = static_cast<float>(i * 37 % 256 + 1 - 128);
  for (int i = 0; i < 128; ++i) matrices.b[i / 8][i % 8] = static_cast<float>(i * 53 % 128 + 1);
  for (int i = 0; i < 128; ++i) matrices.d[i / 8][i % 8] = static_cast<float>(1000 * i);
  return matrices;
}

TEST(DeviceOperations, MatrixProductsHaveTheManualsFragments) {
  const Matrices matrices = DistinctMatrices();
  float output[16][8];
  RunWarp(MultiplyAdd, 0, &matrices, &output[0]);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expected = matrices.d[row][column];
      for (int k = 0; k < 16; ++k) expected += float{matrices.a[row][k]} * float{matrices.b[k][column]};
      EXPECT_EQ(output[row][column], expected) << row << ", " << column;
    }
  }
}

TEST(DeviceOperations, ARowOfAProductDependsOnItsOwnRowOnly) {
  Matrices matrices = DistinctMatrices();
  float before[16][8], after[16][8];
  RunWarp(MultiplyAdd, 0, &matrices, &before[0]);
  matrices.a[3][5] = kNan;
  matrices.a[11][0] = std::numeric_limits<float>::infinity();
  RunWarp(MultiplyAdd, 0, &matrices, &after[0]);
  for (int row = 0; row < 16; ++row) {
    if (row == 3) {
      EXPECT_TRUE(std::isnan(after[row][0]));
    } else if (row == 11) {
      EXPECT_EQ(after[row][0], std::numeric_limits<float>::infinity());
    } else {
      EXPECT_EQ(std::memcmp(before[row], after[row], sizeof(before[row])), 0) << row;
    }
  }
}

constexpr int kRowBytes = 16 + 48;  // Rows need not be neighbours.

__global__ void LoadMatrices(uint32_t (*plain)[4], uint32_t (*transposed)[4]) {
  const int lane = static_cast<int>(threadIdx.x);
  auto* const row = reinterpret_cast<uint16_t*>(SharedMemory() + lane * kRowBytes);
  const int first = lane / 8 * 100 + lane % 8 * 10;  // An element's digits are its matrix, row and column.
  for (int column = 0; column < 8; ++column) row[column] = static_cast<uint16_t>(first + column);
  SyncBlock();
  LoadMatrix4(plain[lane], row);
  LoadMatrix4Transposed(transposed[lane], row);
}

TEST(DeviceOperations, MatrixLoadsGiveEachLaneItsPairs) {
  uint32_t plain[32][4], transposed[32][4];
  RunWarp(LoadMatrices, 32 * kRowBytes, &plain[0], &transposed[0]);
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const uint32_t row = lane / 4, column = 2 * (lane % 4);
      const uint32_t element = 100 * matrix + 10 * row + column;
      EXPECT_EQ(plain[lane][matrix], element | (element + 1) << 16) << lane << ", " << matrix;
      const uint32_t mirrored = 100 * matrix + 10 * column + row;
      EXPECT_EQ(transposed[lane][matrix], mirrored | (mirrored + 10) << 16) << lane << ", " << matrix;
    }
  }
}

// Three copies in groups of their own; what has arrived after each wait.
__global__ void CopyInGroups(const float* input, float (*seen)[3]) {
  auto* const shared = reinterpret_cast<float*>(SharedMemory()) + 12 * threadIdx.x;
  for (int i = 0; i < 12; ++i) shared[i] = -1;
  for (int i = 0; i < 3; ++i) {
    CopyAsync16(shared + 4 * i, input + 4 * i, i != 1);
    CommitCopies();
  }
  const auto look = [&](int wait) {
    for (int i = 0; i < 3; ++i) seen[wait][i] = shared[4 * i];
  };
  look(0);
  WaitCopies<2>();
  look(1);
  WaitCopies<1>();
  look(2);
  CommitCopies();  // Empty.
  WaitCopies<1>();
  look(3);
}

TEST(DeviceOperations, CopiesAreThereOnceWaitedForAndUndefinedBefore) {
  std::vector<float4> input(3);
  for (int i = 0; i < 3; ++i) input[i] = make_float4(static_cast<float>(i + 1), 0, 0, 0);
  float seen[4][3];
  RunWarp(CopyInGroups, 32 * 12 * sizeof(float), &input[0].x, &seen[0]);
  const float expected[4][3] = {{kNan, kNan, kNan}, {1, kNan, kNan}, {1, 0, kNan}, {1, 0, 3}};
  for (int wait = 0; wait < 4; ++wait) {
    for (int i = 0; i < 3; ++i) {
      if (std::isnan(expected[wait][i])) {
        EXPECT_TRUE(std::isnan(seen[wait][i])) << wait << ", " << i;
      } else {
        EXPECT_EQ(seen[wait][i], expected[wait][i]) << wait << ", " << i;
      }
    }
  }
}

__global__ void Exponentiate(const float* input, float* output, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kWarpSize) output[i] = Exp2(input[i]);
}

TEST(DeviceOperations, PowersOfTwoBelowTheNormalNumbersAreZero) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> input = {0, 1, -126, -126.5f, -149, -kInfinity, kInfinity, 128, 1e-40f};
  const std::vector<float> expected = {1, 2, 0x1p-126f, 0, 0, 0, kInfinity, kInfinity, 1};
  std::vector<float> output(input.size());
  RunWarp(Exponentiate, 0, input.data(), output.data(), static_cast<int>(input.size()));
  EXPECT_EQ(output, expected);
}

__global__ void Count(int* whole, float* fraction, int* last_blocks) {
  atomicAdd(fraction, 0.5f);
  FenceDevice();
  if (atomicAdd(whole, 1) == static_cast<int>(gridDim.x * blockDim.x) - 1) ++*last_blocks;
}

TEST(DeviceOperations, AtomicsCountEveryThreadOnce) {
  int whole = 0, last_blocks = 0;
  float fraction = 0;
  ASSERT_EQ(Launch(Count, LaunchShape{.grid = 7, .block = 100}, &whole, &fraction, &last_blocks), cudaSuccess);
  EXPECT_EQ(whole, 700);
  EXPECT_EQ(fraction, 350);
  EXPECT_EQ(last_blocks, 1);
}

}  // namespace
}  // namespace quire
