// ModelConfig: what the decoder needs to know about a model beside its weights. The same struct for every architecture.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/ops.h"

namespace quire {

struct ModelConfig {
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;  // Of the feed-forward network.
  int num_layers = 0;
  int num_heads = 0;       // Query heads.
  int num_kv_heads = 0;    // Divides num_heads: all of them (MHA), some (GQA) or one (MQA).
  int head_dim = 0;        // A multiple of 16.
  int context_length = 0;  // Tokens that the model was trained for.
  float norm_epsilon = 0;
  int sliding_window = 0;  // Tokens that a token sees, itself included; 0: all before it.
  Activation activation = Activation::kSilu;
  bool tied_embeddings = false;  // The output head is the embedding.
  RopeKind rope_kind = RopeKind::kInterleaved;
  // One for each rotated pair of dimensions, scaling included; at most head_dim / 2. See engine/model/rope.h.
  std::vector<float> inverse_frequencies;

  int query_size() const { return num_heads * head_dim; }
  int kv_size() const { return num_kv_heads * head_dim; }
  int qkv_size() const { return query_size() + 2 * kv_size(); }
};

// INVALID_ARGUMENT names the first member that is out of range or that does not fit the others. A valid config's sizes
// can be multiplied pairwise without leaving int64_t.
absl::Status Validate(const ModelConfig& config);

}  // namespace quire
