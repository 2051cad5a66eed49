// The unit that attention kernels see of the CPU's KV cache: 16 consecutive tokens of one KV head.
//
//   bfloat16   K block [head_dim / 2][16 tokens][2]   two neighbouring dimensions side by side, 16 tokens across
//              V block [16 / 2 tokens][head_dim][2]   two neighbouring tokens side by side
//   int8       K block [head_dim / 4][16 tokens][4], then a float scale for each token
//              V block [16 / 4 tokens][head_dim][4], then a float scale for each token
//   int4       V block [16 / 4 tokens][head_dim / 32][16][4], then 16 scales and 16 minima in bfloat16; the low half of
//              a byte belongs to one of the first 16 of 32 dimensions, the high half to the dimension 16 further on
//
// So scores accumulate in the 16 lanes of a vector without a horizontal sum. 64 bytes of bfloat16 are split into two
// vectors of floats by a shift and a mask; codes of int8 are stored with 128 added, as the unsigned operand of 8-bit
// dot products takes them, codes of int4 as they are. No byte holds anything of two tokens, so that tokens may be
// written by different workers. Keys in int8 and values in int4 are rotated (kernels/cpu/kv_rotation.h).
#pragma once

namespace quire {

inline constexpr int kKvBlockTokens = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kInt8KvCentre = 128;  // What is added to a code.
inline constexpr int kInt4KvMaxCode = 15;
// What head_dim must be a multiple of for int4.
inline constexpr int kInt4KvDims = 32;

}  // namespace quire
