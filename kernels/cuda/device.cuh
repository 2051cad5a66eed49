// What kernels use of the device besides plain C++: shared memory, barriers, warp collectives, asynchronous copies and
// matrix instructions of compute capability 8.0. The only place with inline PTX. A compiler that is not nvcc gets the
// host shim's emulation instead (tests/cuda_shim), which also checks what is said here about who must call what.
//
// Everything in this file is called by threads of a kernel. "Warp collective": all 32 lanes of a warp call it together,
// at the same place. Fragment layouts are those of the PTX ISA manual, 9.7.14 ("Warp Level Matrix Instructions").
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define QUIRE_CALLER
#define QUIRE_AND_CALLER
#else
#include <cuda_shim.h>

#include <cmath>
#include <source_location>
// Lets the shim's complaints name the line of the kernel.
#define QUIRE_CALLER std::source_location caller = std::source_location::current()
#define QUIRE_AND_CALLER , QUIRE_CALLER
#endif

namespace quire {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// The block's dynamic shared memory, LaunchShape::shared_bytes of it, aligned to 128 bytes; its contents are undefined
// at first.
__device__ __forceinline__ std::byte* SharedMemory() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) std::byte shared_memory[];
  return shared_memory;
#else
  return cuda_shim::SharedMemory();
#endif
}

// Waits for all threads of the block, and makes what they wrote before visible to them. No thread may have returned,
// and all must be at the same call.
__device__ __forceinline__ void SyncBlock(QUIRE_CALLER) {
#ifdef __CUDACC__
  __syncthreads();
#else
  cuda_shim::SyncBlock(caller);
#endif
}

// The same for a warp. Warp collective.
__device__ __forceinline__ void SyncWarp(QUIRE_CALLER) {
#ifdef __CUDACC__
  __syncwarp(kAllLanes);
#else
  cuda_shim::SyncWarp(caller);
#endif
}

// Makes this thread's writes before it visible to other blocks before its writes after it.
__device__ __forceinline__ void FenceDevice() {
#ifdef __CUDACC__
  __threadfence();
#endif
}

// For a kernel that is launched to overlap (LaunchShape::overlaps), and for one in front of such a kernel. Where the
// device cannot do that, kernels follow each other, and these do nothing.
//
// AllowNextKernel: the next kernel on the stream may start when all blocks of this one have called it or have ended. It
// sees nothing of what this one writes before its own WaitForEarlierKernels.
__device__ __forceinline__ void AllowNextKernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" : : : "memory");
#endif
}

// Waits until all kernels in front of this one on the stream have ended, and sees what they wrote. A kernel that is
// launched to overlap calls it in every block, before it reads what others may have written, and before it writes.
__device__ __forceinline__ void WaitForEarlierKernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" : : : "memory");
#endif
}

// The x of lane `lane`; of the lane whose number differs in the bits of `mask`; of the lane `delta` above, or the own x
// where there is none. T is int, unsigned, float, double or a 64-bit integer. Warp collectives.
template <typename T>
__device__ __forceinline__ T Shuffle(T x, int lane QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  return __shfl_sync(kAllLanes, x, lane);
#else
  return cuda_shim::Shuffle(x, [lane](int) { return lane & (kWarpSize - 1); }, "Shuffle", caller);
#endif
}

template <typename T>
__device__ __forceinline__ T ShuffleXor(T x, int mask QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  return __shfl_xor_sync(kAllLanes, x, mask);
#else
  return cuda_shim::Shuffle(x, [mask](int own) { return own ^ mask; }, "ShuffleXor", caller);
#endif
}

template <typename T>
__device__ __forceinline__ T ShuffleDown(T x, int delta QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  return __shfl_down_sync(kAllLanes, x, delta);
#else
  const auto source = [delta](int own) { return own + delta < kWarpSize ? own + delta : own; };
  return cuda_shim::Shuffle(x, source, "ShuffleDown", caller);
#endif
}

// Whether the predicate holds in any lane; the lanes where it holds, as bits. Warp collectives.
__device__ __forceinline__ bool Any(bool predicate QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  return __any_sync(kAllLanes, predicate) != 0;
#else
  return cuda_shim::Ballot(predicate, "Any", caller) != 0;
#endif
}

__device__ __forceinline__ unsigned Ballot(bool predicate QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  return __ballot_sync(kAllLanes, predicate);
#else
  return cuda_shim::Ballot(predicate, "Ballot", caller);
#endif
}

// The sum and the largest of the lanes' x, the same bits in every lane: pairs 16 lanes apart are combined first, then
// their results 8, 4, 2 and 1 apart. A NaN in one lane makes the sum NaN, and is passed over by WarpMax, as by fmaxf.
// Warp collectives.
__device__ __forceinline__ float WarpSum(float x QUIRE_AND_CALLER) {
#ifdef __CUDACC__
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  return x;
#else
  return cuda_shim::Butterfly(x, [](float a, float b) { return a + b; }, "WarpSum", caller);
#endif
}

__device__ __forceinline__ float WarpMax(float x QUIRE_AND_CALLER) {
#ifdef __CUDACC__
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) x = fmaxf(x, ShuffleXor(x, mask));
  return x;
#else
  return cuda_shim::Butterfly(x, [](float a, float b) { return std::fmax(a, b); }, "WarpMax", caller);
#endif
}

// The address of shared memory as PTX instructions want it; under the shim, where it lies in the block's shared memory.
__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
#ifdef __CUDACC__
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
#else
  return cuda_shim::SharedOffset(shared);
#endif
}

// Begins to copy 16 bytes from global to shared memory, past the first-level cache (cp.async.cg); both addresses are
// multiples of 16. Where not valid it fills with zeros and reads nothing. What lies at `shared` is undefined until
// WaitCopies has waited for it, and only the thread that copied sees it then: others after SyncBlock.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, bool valid QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
               :
               : "r"(SharedAddress(shared)), "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
#else
  cuda_shim::CopyAsync16(shared, global, valid, caller);
#endif
}

// Makes a group of this thread's copies since its last group; groups may be empty.
__device__ __forceinline__ void CommitCopies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;\n" : : : "memory");
#else
  cuda_shim::CommitCopies();
#endif
}

// Waits until at most kPending of this thread's groups, the latest, are under way.
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;\n" : : "n"(kPending) : "memory");
#else
  cuda_shim::WaitCopies(kPending);
#endif
}

// Loads four 8x8 matrices of 16-bit elements. Lane 8 * i + j gives the address of row j of matrix i: 16 bytes in shared
// memory, aligned to 16. Lane l gets in r[i] the elements 2 * (l % 4) and 2 * (l % 4) + 1 (low half first) of row l / 4
// of matrix i; Transposed: of column l / 4. Warp collectives.
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* shared_row QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
#else
  cuda_shim::LoadMatrix4(r, shared_row, caller);
#endif
}

__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
#else
  cuda_shim::LoadMatrix4Transposed(r, shared_row, caller);
#endif
}

// d += a . b, with a [16, 16] and b [16, 8] in bfloat16 (two to a register, low half first) and d [16, 8] in float32
// (mma.m16n8k16). With g = lane / 4 and t = lane % 4 a lane holds
//   a[0]: row g,     columns 2t and 2t + 1         b[0]: rows 2t and 2t + 1 of column g
//   a[1]: row g + 8, columns 2t and 2t + 1         b[1]: rows 2t + 8 and 2t + 9 of column g
//   a[2]: row g,     columns 2t + 8 and 2t + 9     d[0], d[1]: row g,     columns 2t and 2t + 1
//   a[3]: row g + 8, columns 2t + 8 and 2t + 9     d[2], d[3]: row g + 8, columns 2t and 2t + 1
// The order in which the device adds the products of a row and column is its own, but the same for every row. Warp
// collective.
__device__ __forceinline__ void MmaBFloat16(float (&d)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2] QUIRE_AND_CALLER) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  cuda_shim::MmaBFloat16(d, a, b, caller);
#endif
}

// x & mask | bits, in one instruction, which the compiler does not find where both are constants.
__device__ __forceinline__ uint32_t MaskAndSet(uint32_t x, uint32_t mask, uint32_t bits) {
#ifdef __CUDACC__
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(x), "r"(mask), "r"(bits));
  return result;
#else
  return (x & mask) | bits;
#endif
}

// 2^x to about 2 units in the last place; subnormal x count as 0, and results below 2^-126 become 0 (ex2.approx.ftz).
__device__ __forceinline__ float Exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
#endif
}

}  // namespace quire
