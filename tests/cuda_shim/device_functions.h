// What CUDA C++ adds to C++ for code that runs on a device: qualifiers, indices, and functions of global scope; what
// kernels/cuda uses or may soon use.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/cuda_shim/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// Of the thread that runs. Like registers on a device they may be read anywhere; only the block runner writes them.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
constexpr int warpSize = 32;

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
// Within 2 units in the last place on a device: results may differ from there.
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }

// Rounds to nearest even; what is out of range saturates, NaN becomes 0.
inline int __float2int_rn(float x) {
  if (std::isnan(x)) return 0;
  if (x >= 0x1p31f) return INT32_MAX;
  if (x < -0x1p31f) return INT32_MIN;
  return static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) { return __float2int_rn(std::trunc(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
// Byte i of the result is byte (selector >> 4 * i) & 7 of the eight bytes low, high.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t bytes = uint64_t{high} << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }

// Threads take turns, so that plain reads and writes are atomic.
template <typename T>
T AtomicUpdate(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}
inline int atomicAdd(int* address, int x) { return AtomicUpdate(address, *address + x); }
inline unsigned atomicAdd(unsigned* address, unsigned x) { return AtomicUpdate(address, *address + x); }
inline float atomicAdd(float* address, float x) { return AtomicUpdate(address, *address + x); }
inline int atomicMax(int* address, int x) { return AtomicUpdate(address, max(*address, x)); }
inline unsigned atomicMax(unsigned* address, unsigned x) { return AtomicUpdate(address, max(*address, x)); }
inline int atomicExch(int* address, int x) { return AtomicUpdate(address, x); }
inline unsigned atomicExch(unsigned* address, unsigned x) { return AtomicUpdate(address, x); }
