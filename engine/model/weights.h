// Weights: a decoder's parameters, matrices in the layout of the Ops that packed them. Shapes are [output, input]
// features.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"

namespace quire {

// Vectors that a model does not have are null.
struct LayerWeights {
  std::unique_ptr<Buffer> attention_norm;               // [hidden]
  std::unique_ptr<PackedMatrix> qkv;               // [(heads + 2 * kv_heads) * head_dim, hidden]: Q, K and V stacked
  std::unique_ptr<Buffer> qkv_bias;                     // [(heads + 2 * kv_heads) * head_dim]
  std::unique_ptr<Buffer> query_norm;                   // [head_dim], "QK-norm"
  std::unique_ptr<Buffer> key_norm;                     // [head_dim]
  std::unique_ptr<PackedMatrix> attention_output;  // [hidden, heads * head_dim]
  std::unique_ptr<Buffer> attention_output_bias;        // [hidden]
  std::unique_ptr<Buffer> feed_forward_norm;            // [hidden]
  std::unique_ptr<PackedMatrix> gate_up;           // two of [intermediate, hidden], by Ops::PackGated
  std::unique_ptr<PackedMatrix> down;              // [hidden, intermediate]
};

struct Weights {
  std::shared_ptr<PackedMatrix> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::unique_ptr<Buffer> output_norm;             // [hidden]
  std::shared_ptr<PackedMatrix> output_head;  // [vocab, hidden]; the same object as `embedding` where they are tied

  // Bytes of all packed matrices, a shared one counted once.
  int64_t bytes() const;
  // The same of their elements.
  int64_t num_parameters() const;
};

}  // namespace quire
