// Codes of K and V as bfloat16 numbers, two at a time, exactly.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/bfloat16_pair.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/paged_kv.h"

namespace quire {

// Bytes kFirst (into the low half) and kSecond of `codes`.
//
// int8: the lower seven bits behind the byte 0x43 are 128 + those bits. The sign behind 0x43 is 128 or, since it is the
// exponent's last bit, 256, and that is subtracted. Nobody writes fp8's code for NaN.
template <KvDType kDType, int kFirst, int kSecond>
__device__ __forceinline__ uint32_t DecodeTwo(uint32_t codes) {
  static_assert(kDType == KvDType::kInt8 || kDType == KvDType::kFp8);
  if constexpr (kDType == KvDType::kInt8) {
    constexpr uint32_t kMinusOne = 0xbf80bf80;
    const uint32_t bytes = __byte_perm(codes, 0x43, kFirst | 0x40 | kSecond << 8 | 0x4000);
    return FmaPair(bytes & 0x7f807f80, kMinusOne, bytes & 0xff7fff7f);
  } else {
    return WidenFloat8Pair<kFirst, kSecond>(codes);
  }
}

}  // namespace quire
