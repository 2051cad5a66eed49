// The unit that attention kernels see of the CPU's KV cache: 16 consecutive tokens of one KV head.
//
//   bfloat16   K block [head_dim / 2][16 tokens][2]   two neighbouring dimensions side by side, 16 tokens across
//              V block [16 / 2 tokens][head_dim][2]   two neighbouring tokens side by side
//   int8       K block [head_dim / 4][16 tokens][4], then a float scale for each token
//              V block [16 / 4 tokens][head_dim][4], then a float scale for each token
//
// So scores accumulate in the 16 lanes of a vector without a horizontal sum. 64 bytes of bfloat16 are split into two
// vectors of floats by a shift and a mask; codes of int8 are stored with 128 added, as the unsigned operand of 8-bit
// dot products takes them. Keys in int8 are rotated (kernels/cpu/kv_rotation.h).
#pragma once

namespace quire {

inline constexpr int kKvBlockTokens = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kInt8KvCentre = 128;  // What is added to a code.

}  // namespace quire
