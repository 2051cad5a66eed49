// What kernels use of compute capability 9.0 alone: products of a whole warpgroup (wgmma), barriers in shared memory
// that count bytes (mbarrier), bulk copies, clusters of blocks. Like kernels/cuda/device.cuh the only place with its
// PTX, and emulated by the host shim likewise, where a cluster is one block.
//
// Code that calls any of this stands inside #ifdef QUIRE_HOPPER_CODE: it exists in machine code for sm_90a only, and
// under the shim.
// "Warpgroup collective": all 128 threads of four warps, the first of which has a number divisible by 4, call it
// together. Tiles that wgmma reads lie at multiples of 1024 bytes.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDACC__)
#define QUIRE_HOPPER_CODE 1
#endif

namespace quire {

constexpr int kWarpgroupThreads = 128;

// Whether this is being compiled for a device that has all this. Kernels that need it take it into their launch bounds,
//   __launch_bounds__(kHopperCode ? kThreads : kWarpSize)
// by which HasHopperCode tells on the host whether this process has machine code of them for its device.
#ifdef QUIRE_HOPPER_CODE
constexpr bool kHopperCode = true;
#else
constexpr bool kHopperCode = false;
#endif

template <auto kKernel>
bool HasHopperCode(int threads) {
#ifdef __CUDACC__
  static const bool has_code = [threads] {
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kKernel)) == cudaSuccess) {
      return attributes.maxThreadsPerBlock >= threads;
    }
    (void)cudaGetLastError();  // There is no code at all for this device.
    return false;
  }();
  return has_code;
#else
  static_cast<void>(threads);
  return cuda_shim::HasHopper();
#endif
}

#ifdef __CUDACC__
constexpr int kMaxCluster = 2;  // Blocks.
#else
constexpr int kMaxCluster = 1;
#endif

#ifdef QUIRE_HOPPER_CODE

// Descriptors of tiles of 128 bytes by 8 rows and multiples of it, in which the 16-byte piece c of row r lies at
// c ^ (r % 8) ("128-byte swizzle"; PTX ISA manual, 9.7.15.5). Rows of B are columns of the product; the elements of the
// next product are 32 bytes further on.
__device__ __forceinline__ uint64_t DescribeRows(const void* tile) {
  return static_cast<uint64_t>((SharedAddress(tile) & 0x3ffff) >> 4) | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

// The same for B as it is to be transposed, which is for bfloat16 alone: rows of the tile are what is summed over, and
// a row has 64 columns of the product; the next 64 columns lie `half_bytes` further on, the next 16 rows 2048 bytes.
__device__ __forceinline__ uint64_t DescribeColumns(const void* tile, int half_bytes) {
  return static_cast<uint64_t>((SharedAddress(tile) & 0x3ffff) >> 4) | static_cast<uint64_t>(half_bytes >> 4) << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

// Before the first Wgmma, and whenever its registers were written since. Warpgroup collective, as are the next three.
__device__ __forceinline__ void WgmmaFence() {
#ifdef __CUDACC__
  asm volatile("wgmma.fence.sync.aligned;\n" : : : "memory");
#endif
}
__device__ __forceinline__ void WgmmaCommit() {
#ifdef __CUDACC__
  asm volatile("wgmma.commit_group.sync.aligned;\n" : : : "memory");
#else
  cuda_shim::WgmmaCommit();
#endif
}
// Waits until at most kPending of the committed groups, the latest, are under way. Until then neither d nor a may be
// touched, nor the tile of b.
template <int kPending>
__device__ __forceinline__ void WgmmaWait(QUIRE_CALLER) {
#ifdef __CUDACC__
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" : : "n"(kPending) : "memory");
#else
  cuda_shim::WgmmaWait(kPending, caller);
#endif
}

// d = a . b (accumulate: d += a . b), with a [64, 16] in registers, b [16, N] in shared memory, both bfloat16, and d
// [64, N] in float32: N is 2 * the number of d's registers. Warp w of the group holds rows 16 w to 16 w + 15 of a and d
// as in MmaBFloat16, columns of d in tiles of 8. The sums have the same bits as those of MmaBFloat16. Warpgroup
// collective.
#ifdef __CUDACC__
#define QUIRE_FLOATS4(i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define QUIRE_FLOATS8(i) QUIRE_FLOATS4(i), QUIRE_FLOATS4((i) + 4)
#define QUIRE_FLOATS32(i) QUIRE_FLOATS8(i), QUIRE_FLOATS8((i) + 8), QUIRE_FLOATS8((i) + 16), QUIRE_FLOATS8((i) + 24)
// What asm calls d's registers, of which there are so many.
#define QUIRE_NAMES_4 "%0, %1, %2, %3"
#define QUIRE_NAMES_8 QUIRE_NAMES_4 ", %4, %5, %6, %7"
#define QUIRE_NAMES_16 QUIRE_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define QUIRE_NAMES_32 QUIRE_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define QUIRE_NAMES_64                                                                     \
  QUIRE_NAMES_32                                                                           \
      ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
template <bool kTransposed>
__device__ __forceinline__ void Wgmma(float (&d)[32], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" QUIRE_NAMES_32
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"
      : QUIRE_FLOATS32(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
        "n"(kTransposed ? 1 : 0));
}
template <bool kTransposed>
__device__ __forceinline__ void Wgmma(float (&d)[64], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" QUIRE_NAMES_64
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"
      : QUIRE_FLOATS32(0), QUIRE_FLOATS32(32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
        "n"(kTransposed ? 1 : 0));
}
#else
template <bool kTransposed, int kRegisters>
void Wgmma(float (&d)[kRegisters], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(kRegisters == 32 || kRegisters == 64);
  cuda_shim::Wgmma(d, 2 * kRegisters, a, b, kTransposed, accumulate);
}
#endif

// The same of float8 (e4m3, four to a register, first in the lowest bits): a is [64, 32], and b [32, N], its columns
// rows of a tile, 128 elements long. With g = lane / 4 and t = lane % 4 a lane holds of its warp's rows of a
//   a[0]: row g,     columns 4t to 4t + 3           a[2]: row g,     columns 4t + 16 to 4t + 19
//   a[1]: row g + 8, columns 4t to 4t + 3           a[3]: row g + 8, columns 4t + 16 to 4t + 19
// The sums keep fewer bits than float32 has, the same for every N: a long one is to be made of several. Warpgroup
// collective.
#ifdef __CUDACC__
#define QUIRE_WGMMA_FLOAT8(registers, columns, a_names, b_name, accumulate_name, ...)                       \
  __device__ __forceinline__ void WgmmaFloat8(float(&d)[registers], const uint32_t(&a)[4], uint64_t b,      \
                                              bool accumulate) {                                            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " accumulate_name                                        \
                 ", 0;\n"                                                                                   \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k32.f32.e4m3.e4m3 {" QUIRE_NAMES_##registers \
                 "}, {" a_names "}, " b_name ", p, 1, 1;\n}\n"                                              \
                 : __VA_ARGS__                                                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));  \
  }
QUIRE_WGMMA_FLOAT8(4, 8, "%4, %5, %6, %7", "%8", "%9", QUIRE_FLOATS4(0))
QUIRE_WGMMA_FLOAT8(8, 16, "%8, %9, %10, %11", "%12", "%13", QUIRE_FLOATS8(0))
QUIRE_WGMMA_FLOAT8(16, 32, "%16, %17, %18, %19", "%20", "%21", QUIRE_FLOATS8(0), QUIRE_FLOATS8(8))
QUIRE_WGMMA_FLOAT8(32, 64, "%32, %33, %34, %35", "%36", "%37", QUIRE_FLOATS32(0))
QUIRE_WGMMA_FLOAT8(64, 128, "%64, %65, %66, %67", "%68", "%69", QUIRE_FLOATS32(0), QUIRE_FLOATS32(32))
#undef QUIRE_WGMMA_FLOAT8
#undef QUIRE_NAMES_64
#undef QUIRE_NAMES_32
#undef QUIRE_NAMES_16
#undef QUIRE_NAMES_8
#undef QUIRE_NAMES_4
#undef QUIRE_FLOATS32
#undef QUIRE_FLOATS8
#undef QUIRE_FLOATS4
#else
template <int kRegisters>
void WgmmaFloat8(float (&d)[kRegisters], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(kRegisters == 4 || kRegisters == 8 || kRegisters == 16 || kRegisters == 32 || kRegisters == 64);
  cuda_shim::WgmmaFloat8(d, 2 * kRegisters, a, b, accumulate);
}
#endif

// Makes this thread's ordinary writes to shared memory (and its finished CopyAsync16) visible to Wgmma and bulk copies,
// of others after a barrier.
__device__ __forceinline__ void FenceForAsyncProxy() {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async.shared::cta;\n" : : : "memory");
#endif
}

// A barrier in shared memory, aligned to 8 bytes. Its phase ends when `arrivals` threads have arrived and all bytes
// that were announced have come; then the next one begins. Phases are known by their parity, the first by 0; that of
// parity 1 before it counts as ended.
class TransferBarrier {
 public:
  // By one thread, before FenceBarrierInit and a barrier of the block (or cluster).
  __device__ __forceinline__ void Init(int arrivals QUIRE_AND_CALLER) {
#ifdef __CUDACC__
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" : : "r"(address()), "r"(arrivals) : "memory");
#else
    cuda_shim::InitBarrier(&bits_, arrivals, caller);
#endif
  }
  // Arrives, and announces bytes.
  __device__ __forceinline__ void ArriveAndExpect(int bytes QUIRE_AND_CALLER) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" : : "r"(address()), "r"(bytes) : "memory");
#else
    cuda_shim::ArriveAtBarrier(&bits_, bytes, caller);
#endif
  }
  __device__ __forceinline__ void Arrive(QUIRE_CALLER) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" : : "r"(address()) : "memory");
#else
    cuda_shim::ArriveAtBarrier(&bits_, 0, caller);
#endif
  }
  // Arrives at the barrier at the same place in a block of the cluster. It says only that this thread has read: its
  // writes are not made visible there, which would cost a fence for the whole device.
  __device__ __forceinline__ void ArriveAt(int block QUIRE_AND_CALLER) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n"
        :
        : "r"(address()), "r"(block)
        : "memory");
#else
    static_cast<void>(block);
    cuda_shim::ArriveAtBarrier(&bits_, 0, caller);
#endif
  }
  // Waits until the phase of this parity has ended, and sees what was copied, and what threads of this block wrote. (A
  // wait for what other blocks of a cluster wrote would empty the first-level cache each time.)
  __device__ __forceinline__ void Wait(int parity QUIRE_AND_CALLER) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred done;\nWAIT:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra DONE;\nbra WAIT;\nDONE:\n}\n"
        :
        : "r"(address()), "r"(parity)
        : "memory");
#else
    cuda_shim::WaitAtBarrier(&bits_, parity, caller);
#endif
  }
  __device__ __forceinline__ uint32_t address() const { return SharedAddress(&bits_); }
  __device__ __forceinline__ uint64_t* bits() { return &bits_; }

 private:
  uint64_t bits_;
};

__device__ __forceinline__ void FenceBarrierInit() {
#ifdef __CUDACC__
  asm volatile("fence.mbarrier_init.release.cluster;\n" : : : "memory");
#endif
}

// Begins to copy from global to shared memory; addresses and `bytes` are multiples of 16. The barrier gets the bytes.
__device__ __forceinline__ void CopyBulk(void* shared, const void* global, int bytes,
                                         TransferBarrier& barrier QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n"
               :
               : "r"(SharedAddress(shared)), "l"(global), "r"(bytes), "r"(barrier.address())
               : "memory");
#else
  cuda_shim::CopyBulk(shared, global, bytes, barrier.bits(), caller);
#endif
}

// The same, to the same place in all blocks of the cluster that have a bit in `blocks`, and to their barriers.
__device__ __forceinline__ void CopyBulkToBlocks(void* shared, const void* global, int bytes, TransferBarrier& barrier,
                                                 uint16_t blocks QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;\n"
      :
      : "r"(SharedAddress(shared)), "l"(global), "r"(bytes), "r"(barrier.address()), "h"(blocks)
      : "memory");
#else
  static_cast<void>(blocks);
  cuda_shim::CopyBulk(shared, global, bytes, barrier.bits(), caller);
#endif
}

// The block's number in its cluster.
__device__ __forceinline__ int BlockInCluster() {
#ifdef __CUDACC__
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
#else
  return 0;
#endif
}

// Waits for all threads of all blocks of the cluster.
__device__ __forceinline__ void SyncCluster(QUIRE_CALLER) {
#ifdef __CUDACC__
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n" : : : "memory");
#else
  SyncBlock(caller);
#endif
}

// Waits for `threads` threads of the block, whole warps, that call it or ArriveThreads with the same number, from 1 to
// 15. ArriveThreads does not wait.
__device__ __forceinline__ void SyncThreads(int number, int threads QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile("bar.sync %0, %1;\n" : : "r"(number), "r"(threads) : "memory");
#else
  cuda_shim::SyncThreads(number, threads, caller);
#endif
}
__device__ __forceinline__ void ArriveThreads(int number, int threads QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile("bar.arrive %0, %1;\n" : : "r"(number), "r"(threads) : "memory");
#else
  cuda_shim::ArriveThreads(number, threads, caller);
#endif
}

// Changes how many registers each of the warpgroup's threads has, a multiple of 8: GiveRegisters to fewer,
// TakeRegisters, once others have given enough, to more. The kernel says in its launch bounds how many threads it has.
// Warpgroup collective.
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters(QUIRE_CALLER) {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" : : "n"(kRegisters));
#else
  cuda_shim::GiveRegisters(kRegisters, caller);
#endif
}
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters(QUIRE_CALLER) {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" : : "n"(kRegisters));
#else
  cuda_shim::TakeRegisters(kRegisters, caller);
#endif
}

#endif  // QUIRE_HOPPER_CODE

}  // namespace quire
