// RoPE, QK-norm and the append to the KV cache on the device, for one layer of a step. All pointers are to device
// memory; calls put work on the stream and return. Errors of the launches are kept for cudaGetLastError.
#pragma once

#include <cstdint>

#include "kernels/cuda/kv_layout.h"
#include "kernels/cuda/stream.h"

namespace quire {

// The rotations of a step's tokens, the same for all layers that share frequencies: of each token num_frequencies
// cosines, then as many sines, of position * inverse_frequency. Angles, cosines and sines are computed in double, so
// that they are exact to float at any position. rotations is [num_tokens, 2 * num_frequencies].
void ComputeCudaRotations(const int32_t* positions, int num_tokens, const float* inverse_frequencies,
                          int num_frequencies, float* rotations, CudaStream stream);

struct CudaRopeAppendArgs {
  float* qkv = nullptr;  // [num_tokens, (num_heads + 2 * num_kv_heads) * head_dim]: Q, K, V. Q and K are changed.
  int64_t qkv_stride = 0;
  int num_tokens = 0;
  int num_heads = 0;
  const float* query_norm = nullptr;  // [head_dim], or nullptr for none.
  float query_epsilon = 0;
  const float* key_norm = nullptr;
  float key_epsilon = 0;
  bool rotates_halves = false;            // RopeKind::kHalves; otherwise kInterleaved.
  const float* rotations = nullptr;       // As ComputeCudaRotations leaves them.
  int num_frequencies = 0;                // Twice that many dimensions are rotated, at most head_dim.
  const int32_t* slot_mapping = nullptr;  // [num_tokens]; -1: there is no token, and its row is left alone.
  CudaKvLayer layer;
};

// Ops::RopeAppend. Slots of tokens are in the cache and distinct.
void RopeAppendOnCuda(const CudaRopeAppendArgs& args, CudaStream stream);

}  // namespace quire
