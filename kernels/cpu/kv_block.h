// The unit that attention kernels see of the CPU's KV cache: 16 consecutive tokens of one KV head, in bfloat16.
//
//   K block [head_dim / 2][16 tokens][2]   two neighbouring dimensions side by side, 16 tokens across
//   V block [16 / 2 tokens][head_dim][2]   two neighbouring tokens side by side
//
// So scores accumulate in the 16 lanes of a vector without a horizontal sum, 64 bytes are split into two vectors of
// floats by a shift and a mask, and the pairs are those that AVX-512 BF16 and AMX dot products take.
#pragma once

namespace quire {

inline constexpr int kKvBlockTokens = 16;
inline constexpr int kMaxHeadDim = 256;

}  // namespace quire
