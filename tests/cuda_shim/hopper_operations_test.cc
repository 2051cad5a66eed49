// What the emulated device has of compute capability 9.0: as late as a device may be, and strict about its rules.
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

uint32_t Pair(float low, float high) { return ToBFloat16(low) | static_cast<uint32_t>(ToBFloat16(high)) << 16; }

// Element (row, column) of a tile of rows of 64 elements, as DescribeRows says.
std::byte* Element(std::byte* tile, int row, int column) {
  return tile + row * 128 + ((column / 8 ^ row % 8) * 16) + column % 8 * 2;
}

// output [64, 64] = a [64, 16] . b, which is a tile of 64 rows that are columns (kTransposed: of what is summed over).
template <bool kTransposed>
__global__ void MultiplyOnce(const float* a, const float* b, float* output, bool overwrite_early) {
  std::byte* const tile = SharedMemory();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, group = thread % 32 / 4, pair = thread % 4 * 2;
  for (int i = thread; i < 64 * 16; i += kWarpgroupThreads) {
    const int n = i / 16, k = i % 16;
    const uint16_t bits = ToBFloat16(b[k * 64 + n]);
    std::byte* const to = kTransposed ? Element(tile + k / 8 * 1024, k % 8, n) : Element(tile + n / 8 * 1024, n % 8, k);
    std::memcpy(to, &bits, sizeof(bits));
  }
  uint32_t registers[4];
  for (int i = 0; i < 4; ++i) {
    const float* const row = a + (warp * 16 + group + i % 2 * 8) * 16 + pair + i / 2 * 8;
    registers[i] = Pair(row[0], row[1]);
  }
  FenceForAsyncProxy();
  SyncBlock();
  float sums[32] = {};
  WgmmaFence();
  Wgmma<kTransposed>(sums, registers, kTransposed ? DescribeColumns(tile, 8192) : DescribeRows(tile), false);
  WgmmaCommit();
  if (overwrite_early) registers[0] = 0;
  WgmmaWait<0>();
  for (int i = 0; i < 32; ++i) {
    output[(warp * 16 + group + i % 4 / 2 * 8) * 64 + i / 4 * 8 + pair + i % 2] = sums[i];
  }
}

class WarpgroupProducts : public testing::Test {
 protected:
  // The largest difference from the product.
  template <bool kTransposed>
  double Error(bool overwrite_early) {
    std::uniform_int_distribution<int> small(-8, 8);
    for (float& x : a_) x = static_cast<float>(small(random_));
    for (float& x : b_) x = static_cast<float>(small(random_));
    const LaunchShape shape = {.grid = 1, .block = kWarpgroupThreads, .shared_bytes = 8192};
    EXPECT_EQ(Launch(MultiplyOnce<kTransposed>, shape, a_.data(), b_.data(), output_.data(), overwrite_early),
              cudaSuccess);
    double error = 0;
    for (int m = 0; m < 64; ++m) {
      for (int n = 0; n < 64; ++n) {
        double sum = 0;
        for (int k = 0; k < 16; ++k) sum += a_[m * 16 + k] * b_[k * 64 + n];
        error = std::max(error, std::abs(sum - output_[m * 64 + n]));
      }
    }
    return error;
  }

  std::mt19937 random_{20261128};
  std::vector<float> a_ = std::vector<float>(64 * 16), b_ = std::vector<float>(16 * 64),
                     output_ = std::vector<float>(64 * 64);
};

TEST_F(WarpgroupProducts, MultiplyRowsAndColumnsOfASwizzledTile) {
  EXPECT_EQ(Error<false>(false), 0);
  EXPECT_EQ(Error<true>(false), 0);
}

TEST_F(WarpgroupProducts, AreMadeOfWhatLiesInRegistersWhenTheyAreWaitedFor) { EXPECT_GT(Error<false>(true), 0); }

constexpr int kFloat8Depth = 128;  // A whole row of a tile: four products.

// output [64, N] = a [64, kFloat8Depth] . b, whose columns are `b`'s rows; all of e4m3 codes. N is 2 * kRegisters.
template <int kRegisters>
__global__ void MultiplyFloat8(const uint8_t* a, const uint8_t* b, float* output) {
  constexpr int kColumns = 2 * kRegisters;
  std::byte* const tile = SharedMemory();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, group = thread % 32 / 4, lane = thread % 4;
  for (int i = thread; i < kColumns * kFloat8Depth; i += kWarpgroupThreads) {
    const int n = i / kFloat8Depth, k = i % kFloat8Depth;
    tile[n * 128 + ((k / 16 ^ n % 8) * 16) + k % 16] = std::byte{b[i]};
  }
  uint32_t registers[kFloat8Depth / 32][4];
  for (int step = 0; step < kFloat8Depth / 32; ++step) {
    for (int i = 0; i < 4; ++i) {
      const int row = warp * 16 + group + i % 2 * 8, column = step * 32 + lane * 4 + i / 2 * 16;
      std::memcpy(&registers[step][i], a + row * kFloat8Depth + column, 4);
    }
  }
  FenceForAsyncProxy();
  SyncBlock();
  float sums[kRegisters];  // Whatever lies there.
  std::memset(sums, 0xff, sizeof(sums));
  WgmmaFence();
  for (int step = 0; step < kFloat8Depth / 32; ++step) {
    WgmmaFloat8(sums, registers[step], DescribeRows(tile) + step * 2, /*accumulate=*/step > 0);
  }
  WgmmaCommit();
  WgmmaWait<0>();
  for (int i = 0; i < kRegisters; ++i) {
    output[(warp * 16 + group + i % 4 / 2 * 8) * kColumns + i / 4 * 8 + lane * 2 + i % 2] = sums[i];
  }
}

class WarpgroupFloat8Products : public testing::Test {
 protected:
  static float ValueOf(uint8_t code) { return __half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)); }
  // Of any magnitude, but finite.
  uint8_t RandomCode() {
    const auto code = static_cast<uint8_t>(random_());
    return (code & 0x7f) == 0x7f ? 0 : code;
  }

  template <int kRegisters>
  void ExpectChainsOfFloats() {
    constexpr int kColumns = 2 * kRegisters;
    SCOPED_TRACE(testing::Message() << kColumns << " columns");
    std::vector<uint8_t> a(64 * kFloat8Depth), b(kColumns * kFloat8Depth);
    for (uint8_t& code : a) code = RandomCode();
    for (uint8_t& code : b) code = RandomCode();
    std::vector<float> output(64 * kColumns);
    const LaunchShape shape = {.grid = 1, .block = kWarpgroupThreads, .shared_bytes = 16384};
    ASSERT_EQ(Launch(MultiplyFloat8<kRegisters>, shape, a.data(), b.data(), output.data()), cudaSuccess);
    for (int m = 0; m < 64; ++m) {
      for (int n = 0; n < kColumns; ++n) {
        float sum = 0;
        for (int begin = 0; begin < kFloat8Depth; begin += 16) {
          double of_sixteen = 0;
          for (int k = begin; k < begin + 16; ++k) {
            of_sixteen += double{ValueOf(a[m * kFloat8Depth + k])} * ValueOf(b[n * kFloat8Depth + k]);
          }
          sum = static_cast<float>(sum + of_sixteen);
        }
        ASSERT_EQ(output[m * kColumns + n], sum) << "row " << m << ", column " << n;
      }
    }
  }

  std::mt19937 random_{20261128};
};

TEST_F(WarpgroupFloat8Products, AreSummedInFloat32BySixteensForEveryNumberOfColumns) {
  ExpectChainsOfFloats<4>();
  ExpectChainsOfFloats<8>();
  ExpectChainsOfFloats<16>();
  ExpectChainsOfFloats<32>();
  ExpectChainsOfFloats<64>();
}

__global__ void CopyThroughStages(const uint32_t* input, uint32_t* output, int num_tiles) {
  constexpr int kStages = 2, kWords = 64;
  auto* const stages = reinterpret_cast<uint32_t*>(SharedMemory());
  auto* const full = reinterpret_cast<TransferBarrier*>(stages + kStages * kWords);
  auto* const empty = full + kStages;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) full[i].Init(1), empty[i].Init(1);
    FenceBarrierInit();
  }
  SyncBlock();
  for (int tile = 0; tile < num_tiles; ++tile) {
    const int stage = tile % kStages, parity = tile / kStages % 2;
    if (threadIdx.x < 32) {
      empty[stage].Wait(parity ^ 1);
      if (lane != 0) continue;
      full[stage].ArriveAndExpect(kWords * 4);
      for (int half = 0; half < 2; ++half) {
        const int word = half * kWords / 2;
        CopyBulk(stages + stage * kWords + word, input + tile * kWords + word, kWords * 2, full[stage]);
      }
    } else {
      full[stage].Wait(parity);
      for (int i = lane; i < kWords; i += 32) output[tile * kWords + i] = stages[stage * kWords + i];
      SyncWarp();
      if (lane == 0) empty[stage].Arrive();
    }
  }
}

TEST(TransferBarriers, HandStagesToAndFroWhateverTheOrderOfThreads) {
  std::vector<uint32_t> input(7 * 64), output(input.size());
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<uint32_t>(i);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    cuda_shim::SetSchedulingSeed(seed);
    output.assign(input.size(), 0);
    const LaunchShape shape = {.grid = 1, .block = 64, .shared_bytes = 1024};
    ASSERT_EQ(Launch(CopyThroughStages, shape, input.data(), output.data(), 7), cudaSuccess);
    EXPECT_EQ(output, input) << "seed " << seed;
  }
}

__global__ void DealRegisters(bool too_many) {
  if (threadIdx.x < kWarpgroupThreads) {
    GiveRegisters<24>();
  } else if (too_many) {
    TakeRegisters<248>();
  } else {
    TakeRegisters<240>();
  }
}

TEST(Registers, AreDealtAnewAmongWarpgroups) {
  const LaunchShape shape = {.grid = 1, .block = 3 * kWarpgroupThreads};
  EXPECT_EQ(Launch(DealRegisters, shape, false), cudaSuccess);
}

TEST(RegistersDeathTest, ThatNobodyGivesAreWaitedForInVain) {
  const LaunchShape shape = {.grid = 1, .block = 3 * kWarpgroupThreads};
  EXPECT_DEATH(Launch(DealRegisters, shape, true), "nobody gets on: thread .* is in TakeRegisters");
}

__global__ void WaitForNobody(bool initialised) {
  auto& barrier = *reinterpret_cast<TransferBarrier*>(SharedMemory());
  if (initialised && threadIdx.x == 0) barrier.Init(1);
  SyncBlock();
  barrier.Wait(0);
}

TEST(TransferBarriersDeathTest, EndAKernelThatWaitsForNobody) {
  const LaunchShape shape = {.grid = 1, .block = 32, .shared_bytes = 64};
  EXPECT_DEATH(Launch(WaitForNobody, shape, true), "nobody gets on: thread .* is in Wait");
  EXPECT_DEATH(Launch(WaitForNobody, shape, false), "Wait at .* with a barrier that was not initialised");
}

__global__ void ForgetsToWait() {
  uint32_t a[4] = {};
  float d[32];
  Wgmma<false>(d, a, DescribeRows(SharedMemory()), false);
  WgmmaCommit();
}

TEST(WarpgroupProductsDeathTest, MustBeWaitedFor) {
  const LaunchShape shape = {.grid = 1, .block = kWarpgroupThreads, .shared_bytes = 8192};
  EXPECT_DEATH(Launch(ForgetsToWait, shape), "has ended before its products");
}

__global__ void MeetInPart(int* met) {
  if (threadIdx.x < 32) {
    met[threadIdx.x] = 1;
    ArriveThreads(3, 64);
  } else if (threadIdx.x < 64) {
    SyncThreads(3, 64);
    met[threadIdx.x] = met[threadIdx.x - 32] + 1;
  }
}

TEST(NamedBarriers, AreForSomeOfABlocksThreads) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    cuda_shim::SetSchedulingSeed(seed);
    std::vector<int> met(64);
    ASSERT_EQ(Launch(MeetInPart, LaunchShape{.grid = 1, .block = 96}, met.data()), cudaSuccess);
    for (int i = 32; i < 64; ++i) EXPECT_EQ(met[i], 2) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quire
