// Finds a decoder's weights in a checkpoint, checks their shapes against the config, and packs them.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/loader/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "kernels/ops.h"

namespace quire {

// How an architecture calls its tensors. An empty name: it has no such tensor. Names of layers are without their
// prefix.
struct TensorNames {
  std::string_view embedding = "token_embd.weight";
  std::string_view output_norm = "output_norm.weight";
  std::string_view output_head = "output.weight";       // Not in the file where embeddings are tied.
  std::string_view rope_factors = "rope_freqs.weight";  // Read with the config; may be absent.

  std::string_view layer_prefix = "blk.";  // Then the layer's number and a dot.
  std::string_view attention_norm = "attn_norm.weight";
  std::string_view query = "attn_q.weight";
  std::string_view key = "attn_k.weight";
  std::string_view value = "attn_v.weight";
  std::string_view query_norm;
  std::string_view key_norm;
  std::string_view attention_output = "attn_output.weight";
  std::string_view feed_forward_norm = "ffn_norm.weight";
  std::string_view gate = "ffn_gate.weight";
  std::string_view up = "ffn_up.weight";
  std::string_view down = "ffn_down.weight";

  // Biases may be absent, those of Q, K and V only together.
  std::string_view query_bias = "attn_q.bias";
  std::string_view key_bias = "attn_k.bias";
  std::string_view value_bias = "attn_v.bias";
  std::string_view attention_output_bias = "attn_output.bias";
};

// The elements of a tensor of one dimension. INVALID_ARGUMENT when it is missing or not of this size.
absl::StatusOr<std::vector<float>> LoadVector(const Checkpoint& checkpoint, std::string_view name, int64_t size);

// INVALID_ARGUMENT names the tensor that is missing, of the wrong shape or type, or that the names do not account for:
// a model with a part that is not computed would answer nonsense. The layers' matrices are packed in `precision`, all
// others as stored. `progress` gets 0..1.
absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelConfig& config, const TensorNames& names,
                                    Ops& ops, WeightPrecision precision, const std::function<void(float)>& progress);

}  // namespace quire
