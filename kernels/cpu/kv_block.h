// The unit that attention kernels see of the CPU's KV cache: 16 consecutive tokens of one KV head.
//
//   bfloat16   K block [head_dim / 2][16 tokens][2]   two neighbouring dimensions side by side, 16 tokens across
//              V block [16 / 2 tokens][head_dim][2]   two neighbouring tokens side by side
//   int8       K block [head_dim / 4][16 tokens][4], then a float scale for each token
//              V block [16 / 4 tokens][head_dim][4], then a float scale for each token
//   int4       K block [head_dim / 8][16 tokens][4], then 16 scales and 16 middles in bfloat16; the low half of a byte
//              belongs to one of the first 4 of 8 dimensions, the high half to the dimension 4 further on
//              V block [16 / 4 tokens][head_dim / 32][16][4], then 16 scales and 16 middles in bfloat16; the low half of
//              a byte belongs to one of the first 16 of 32 dimensions, the high half to the dimension 16 further on
//
// So scores accumulate in the 16 lanes of a vector without a horizontal sum. 64 bytes of bfloat16 are split into two
// vectors of floats by a shift and a mask; codes of int8 are stored with 128 added, as the unsigned operand of 8-bit
// dot products takes them, and codes of int4 are looked up as such. No byte holds anything of two tokens, so that tokens may be
// written by different workers. Keys in int8, and keys and values in int4 are rotated (kernels/cpu/kv_rotation.h).
//
// A key in int4 is kept as its difference from a prediction, which begins as 0 in each block and moves towards every
// key that is written, all the way the first time, half-way after that:
//   key = prediction + difference, next prediction = prediction + gain * difference
// What the keys of 16 neighbouring tokens have in common is most of them; it does not cost the others codes. A key thus
// depends on its block's earlier tokens alone, and scores of differences are made scores of keys by a sum over lanes.
#pragma once

namespace quire {

inline constexpr int kKvBlockTokens = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kInt8KvCentre = 128;  // What is added to a code.
constexpr float KeyPredictionGain(int token) { return token == 0 ? 1.0f : 0.5f; }
// What the codes of int4 stand for, in units of the scale: 127 * g(code) / g(15), where
// g(code) = erfinv((2 * code - 15) / 15 * erf(2.3 / sqrt(6))). Elements of a rotated head are about normally distributed,
// and levels whose density is the cube root of theirs (here up to 2.3 standard deviations) have the least squared error:
// Panter and Dite, "Quantization distortion in pulse-count modulation with nonuniform spacing of levels", 1951.
inline constexpr int kInt4KvLevels[16] = {-127, -101, -80, -63, -48, -33, -20, -7, 7, 20, 33, 48, 63, 80, 101, 127};
// What head_dim must be a multiple of for int4.
inline constexpr int kInt4KvDims = 32;

}  // namespace quire
