// Two bfloat16 numbers in a register, the first in the low half.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace quire {

__device__ __forceinline__ __nv_bfloat162 AsPair(uint32_t bits) {
  __nv_bfloat162 pair;
  memcpy(&pair, &bits, sizeof(pair));
  return pair;
}

__device__ __forceinline__ uint32_t AsBits(__nv_bfloat162 pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// To nearest even.
__device__ __forceinline__ uint32_t RoundToBFloat16Pair(float low, float high) {
  return AsBits(__floats2bfloat162_rn(low, high));
}

}  // namespace quire
