// Paged attention on the device: carries out a CudaAttentionPlan for one layer. All pointers are to device memory.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/kv_layout.h"
#include "kernels/cuda/stream.h"

namespace quire {

struct CudaAttentionArgs {
  const float* queries = nullptr;  // [T, num_heads * head_dim], rotated, aligned to 8 bytes.
  int64_t query_stride = 0;        // Even.
  float* output = nullptr;         // [T, num_heads * head_dim], aligned to 8 bytes.
  int64_t output_stride = 0;       // Even.
  int num_heads = 0;
  float scale = 0;
  int sliding_window = 0;  // As in the plan.
  CudaKvLayer layer;
  const int32_t* positions = nullptr;      // Of PagedBatchView, as are
  const int32_t* block_indices = nullptr;  // these.
  CudaAttentionPlanView plan;
  float* partials = nullptr;  // CudaAttentionPartialFloats(...) of scratch memory, aligned to 8 bytes.
  bool portable = false;      // Whether only kernels for all devices are used, for comparisons.
};

// The most query rows of a plan's item: CudaAttentionPlan::Shape::max_tile_rows.
int CudaAttentionTileRows(int head_dim, KvDType keys, KvDType values, bool portable = false);

// Scratch memory for the states of cut tokens, in floats: each is a maximum, a sum and head_dim weighted values.
constexpr int64_t CudaAttentionPartialFloats(int64_t num_partials, int num_heads, int head_dim) {
  return num_partials * num_heads * (head_dim + int64_t{2});
}

// Ops::Attention: puts it on the stream and returns. Errors of the launches are kept for cudaGetLastError.
//
// Arithmetic, the same for every row whoever else is in the call and whichever kernel serves it. Queries times scale *
// log2(e) are rounded to bfloat16, rotated before that where keys are in int8; codes of K and V are exact in bfloat16.
// "Product" is that of matrix instructions, which add 16 exact products at a time to a sum in float32; where keys are
// codes, the 16 are in the order of PlaceOfCode (kernels/cuda/attention_rows.cuh).
//
// A split of kCudaSplitTokens positions has a state: a maximum, at first -infinity, a sum and weighted values, at first
// 0. Its chunks of kCudaChunkTokens positions, those of which the row sees any, change it in ascending order:
//
//   score      product of query and key over ascending dimensions, times the key's scale
//   m          the larger of the state's maximum and the scores of visible positions
//   kept       2^(maximum - m)
//   weight     2^(score - m) of visible positions, 0 of others
//   sum        fma(sum, kept, weights of the chunk), the latter added up for positions 8i + 2t and 8i + 2t + 1 with
//              ascending i for each t, then the results of t = 0 and 1, of 2 and 3, and those two
//   weighted   weighted * kept, rounded, to which the product of (weight * value's scale), rounded to bfloat16, and
//              value is added over ascending positions
//   maximum    m
//
// Splits' states are then added up in ascending order (MergeState of kernels/cuda/attention_state.cuh), and weighted
// values divided by the sum. A row that sees a token whose value is kept as NaN becomes NaN as a whole; what a row does
// not see has no influence on it, whatever it is.
void AttentionOnCuda(const CudaAttentionArgs& args, CudaStream stream);

}  // namespace quire
