// The arithmetic of paged attention, once for each instruction set. Everything above these kernels (which rows meet
// which tokens, who computes what) is shared and has no influence on the result's bits.
//
// Included by files that are compiled for one instruction set: no function may be defined here, lest the linker keep
// its wide version for everyone.
#pragma once

#include <cstddef>

#include "kernels/cpu/kv_block.h"

namespace quire {

// Softmax is computed over chunks of this many tokens, aligned to absolute positions, and the chunks' results are
// merged in ascending order, whoever computes them.
inline constexpr int kAttentionChunkTokens = 256;
inline constexpr int kAttentionChunkBlocks = kAttentionChunkTokens / kKvBlockTokens;
// How many blocks ahead of their use K and V are fetched from memory, at most.
inline constexpr int kAttentionBlocksAhead = 8;
// Query rows that share one pass over a chunk's K and V.
inline constexpr int kAttentionMaxRows = 4;

// One KV head's chunk as pointers to its blocks. Only entries of blocks with visible tokens are set, and
// kAttentionBlocksAhead more behind them: memory that will be read next, to be fetched meanwhile.
struct KvChunk {
  int head_dim;
  const std::byte* keys[kAttentionChunkBlocks + kAttentionBlocksAhead];
  const std::byte* values[kAttentionChunkBlocks + kAttentionBlocksAhead];
};

// The softmax-weighted V of one query row over some tokens, not yet divided by the weights' sum: weights are
// 2^(score - max_score), scores being in units of log2.
struct AttentionState {
  float max_score;
  float sum;
  float* weighted;  // [head_dim]
};

struct AttentionRow {
  const std::byte* query;  // As `prepare` leaves it.
  int begin;               // The chunk's tokens [begin, end) are visible; at least one.
  int end;
  AttentionState* state;  // Output.
};

// For K and V of one type.
struct KvKernels {
  // Makes of a query times `factor` what `attend` reads: 4 * head_dim bytes, aligned to 4.
  void (*prepare)(const float* query, float factor, int head_dim, std::byte* prepared);
  // Attends `num_rows` rows, at most kAttentionMaxRows, to one chunk. A row's state depends on that row and its visible
  // tokens only; other tokens' memory may hold anything.
  void (*attend)(const KvChunk& chunk, const AttentionRow* rows, int num_rows);
};

struct AttentionKernels {
  const char* name;
  KvKernels bfloat16;
  KvKernels int8;
  KvKernels int8_int4;  // K in int8, V in int4.
  KvKernels int4_int8;
  KvKernels int4;
  // Adds to `state` the tokens of `next`, which follow its own.
  void (*merge)(const AttentionState& next, int head_dim, AttentionState* state);
  // output = weighted / sum.
  void (*finish)(const AttentionState& state, int head_dim, float* output);
  // The same where V is rotated: rotates it back.
  void (*finish_rotated)(const AttentionState& state, int head_dim, float* output);
};

extern const AttentionKernels kPortableAttentionKernels;
#if defined(__x86_64__)
extern const AttentionKernels kAvx2AttentionKernels;    // AVX2, FMA
extern const AttentionKernels kAvx512AttentionKernels;  // AVX-512 F, BW, DQ, VL, VNNI
extern const KvKernels kAvx512Bf16KvKernels;            // the above, BF16; for K and V in bfloat16
#endif

}  // namespace quire
