// bfloat16 numbers two at a time, and codes of K and V as such. All are exact.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/paged_kv.h"

namespace quire {

// a * b + c for both halves.
__device__ __forceinline__ uint32_t FmaPair(uint32_t a, uint32_t b, uint32_t c) {
  return AsBits(__hfma2(AsPair(a), AsPair(b), AsPair(c)));
}

// Bytes kFirst (into the low half) and kSecond of `codes`.
//
// int8: the lower seven bits behind the byte 0x43 are 128 + those bits. The sign behind 0x43 is 128 or, since it is the
// exponent's last bit, 256, and that is subtracted. e4m3 has the fields of bfloat16 in the same order, and an exponent
// that is off by 120. Its code for NaN, which nobody writes, becomes 480.
template <KvDType kDType, int kFirst, int kSecond>
__device__ __forceinline__ uint32_t DecodeTwo(uint32_t codes) {
  static_assert(kDType == KvDType::kInt8 || kDType == KvDType::kFp8);
  constexpr uint32_t kMinusOne = 0xbf80bf80, kMinusZero = 0x80008000, kTwoTo120 = 0x7b807b80;
  if constexpr (kDType == KvDType::kInt8) {
    const uint32_t bytes = __byte_perm(codes, 0x43, kFirst | 0x40 | kSecond << 8 | 0x4000);
    return FmaPair(bytes & 0x7f807f80, kMinusOne, bytes & 0xff7fff7f);
  } else {
    const uint32_t bytes = __byte_perm(codes, 0, 0x4 | kFirst << 4 | 0x400 | kSecond << 12);
    return FmaPair((bytes & 0x80008000) | (bytes & 0x7f007f00) >> 4, kTwoTo120, kMinusZero);
  }
}

}  // namespace quire
