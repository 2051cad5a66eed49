// The query rows of an item with one KV head: which they are, what they see, and how their queries are prepared.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rotation.cuh"

namespace quire {

// What the kernels take: the arguments, with what is derived from them.
struct AttentionParameters {
  CudaAttentionArgs args;
  int group;            // Query heads of one KV head.
  float query_factor;   // To be multiplied with queries, after a rotation where
  bool rotate_queries;  // this is set.
};

// How many bytes lie between the beginnings of rows of so many in shared memory: an odd number of 16 bytes, so that 8
// rows' 16 bytes at one place lie in different banks.
constexpr int SharedRowBytes(int bytes) { return 16 * (bytes / 16 | 1); }

struct AttentionRow {
  int token = -1;  // -1: there is none.
  int head = 0;
  int begin = 0;  // Positions [begin, end) of the item are visible.
  int end = 0;
  int first_state = 0;  // The state of split s is first_state + s, in units of tokens.

  __device__ bool Sees(int position) const { return position >= begin && position < end; }
  __device__ bool SeesAnyOf(int from, int count) const { return begin < from + count && end > from && begin < end; }
  __device__ bool SeesAllOf(int from, int count) const { return begin <= from && end >= from + count; }
};

// Row `index` of an item. Tokens' rows of one KV head are side by side.
__device__ __forceinline__ AttentionRow AttentionRowAt(const AttentionParameters& parameters,
                                                       const CudaAttentionItem& item, int kv_head, int index) {
  const CudaAttentionArgs& args = parameters.args;
  if (index >= item.num_tokens * parameters.group) return {};
  const int token = args.plan.tokens[item.first_token + index / parameters.group];
  const int end = args.positions[token] + 1;
  const int begin = args.sliding_window > 0 ? max(0, end - args.sliding_window) : 0;
  return {.token = token,
          .head = kv_head * parameters.group + index % parameters.group,
          .begin = max(begin, item.begin),
          .end = min(end, item.end),
          .first_state = args.plan.first_partials[token] - begin / kCudaSplitTokens};
}

// Where keys are codes, this is where a head's dimension lies among the 16 that a matrix instruction multiplies at
// once: a lane's four places get four neighbouring codes, which it loads in one register.
__device__ __forceinline__ int PlaceOfCode(int dim) {
  return dim / 16 * 16 + dim % 16 / 4 * 2 + dim % 2 + dim / 2 % 2 * 8;
}

// Writes the row's query, or zeros if there is none, as bfloat16. Warp collective.
template <int kHeadDim>
__device__ __forceinline__ void LoadQuery(const AttentionParameters& parameters, const AttentionRow& row,
                                          std::byte* destination) {
  constexpr int kPerLane = (kHeadDim + kWarpSize - 1) / kWarpSize;
  const CudaAttentionArgs& args = parameters.args;
  const int lane = threadIdx.x % kWarpSize, head_dim = args.layer.head_dim;
  const bool has_codes = args.layer.keys.dtype != KvDType::kBF16;
  const float* query = args.queries + row.token * args.query_stride + static_cast<int64_t>(row.head) * head_dim;
  float head[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int dim = lane + i * kWarpSize;
    head[i] = row.token >= 0 && dim < head_dim ? query[dim] : 0;
  }
  if (parameters.rotate_queries) RotateHead(head, CudaRotatedPart(head_dim));
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int dim = lane + i * kWarpSize;
    if (dim >= kHeadDim) continue;
    const float scaled = __fmul_rn(head[i], parameters.query_factor);
    reinterpret_cast<__nv_bfloat16*>(destination)[has_codes ? PlaceOfCode(dim) : dim] = __float2bfloat16_rn(scaled);
  }
}

}  // namespace quire
