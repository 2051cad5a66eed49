#include "engine/model/llama.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/loader/quoted.h"
#include "engine/model/metadata.h"
#include "engine/model/rope.h"
#include "engine/model/weight_loader.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

// Rows of the embedding: files need not carry the number itself.
absl::StatusOr<int> VocabSize(const Checkpoint& checkpoint, const Metadata& metadata) {
  const absl::StatusOr<RawMatrix> embedding = checkpoint.GetTensor(TensorNames().embedding);
  if (!embedding.ok()) return absl::InvalidArgumentError(embedding.status().message());
  if (embedding->rows > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("the embedding has too many rows: ", embedding->rows));
  }
  const int rows = static_cast<int>(embedding->rows);
  ASSIGN_OR_RETURN(const int vocab_size, metadata.IntOr("vocab_size", rows));
  if (vocab_size != rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata 'llama.vocab_size' is ", vocab_size, ", but the embedding has ", rows, " rows"));
  }
  return vocab_size;
}

absl::StatusOr<int> HeadDim(const Metadata& metadata, const ModelConfig& config) {
  if (config.num_heads < 1 || config.hidden_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata 'llama.attention.head_count' and 'llama.embedding_length' "
                     "must be positive, got ",
                     config.num_heads, " and ", config.hidden_size));
  }
  ASSIGN_OR_RETURN(const int key_length, metadata.IntOr("attention.key_length", 0));
  if (key_length == 0 && config.hidden_size % config.num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("metadata 'llama.attention.head_count' must divide the ",
                                                   config.hidden_size, " of 'llama.embedding_length', got ",
                                                   config.num_heads));
  }
  const int head_dim = key_length == 0 ? config.hidden_size / config.num_heads : key_length;
  ASSIGN_OR_RETURN(const int value_length, metadata.IntOr("attention.value_length", head_dim));
  if (value_length != head_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys and values of different length are not supported: ", head_dim, " and ", value_length));
  }
  return head_dim;
}

absl::StatusOr<std::vector<float>> ReadRope(const Checkpoint& checkpoint, const Metadata& metadata, int head_dim) {
  RopeScaling scaling;
  ASSIGN_OR_RETURN(scaling.dimensions, metadata.IntOr("rope.dimension_count", head_dim));
  ASSIGN_OR_RETURN(scaling.base, metadata.FloatOr("rope.freq_base", 10000));
  ASSIGN_OR_RETURN(const std::string type, metadata.StringOr("rope.scaling.type", "none"));
  if (type == "linear") {
    ASSIGN_OR_RETURN(scaling.linear_factor, metadata.Float("rope.scaling.factor"));
  } else if (type != "none") {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata 'llama.rope.scaling.type' must be 'none' or 'linear', got ", Quoted(type)));
  }
  std::vector<float> factors;
  if (checkpoint.HasTensor(TensorNames().rope_factors)) {
    ASSIGN_OR_RETURN(factors, LoadVector(checkpoint, TensorNames().rope_factors, scaling.dimensions / 2));
    scaling.factors = factors;
  }
  return InverseFrequencies(scaling);
}

}  // namespace

absl::StatusOr<ModelConfig> ReadLlamaConfig(const Checkpoint& checkpoint) {
  const Metadata metadata(checkpoint, "llama");
  ASSIGN_OR_RETURN(const int num_experts, metadata.IntOr("expert_count", 0));
  if (num_experts != 0) return absl::InvalidArgumentError("mixtures of experts are not supported");
  ModelConfig config;
  ASSIGN_OR_RETURN(config.vocab_size, VocabSize(checkpoint, metadata));
  ASSIGN_OR_RETURN(config.hidden_size, metadata.Int("embedding_length"));
  ASSIGN_OR_RETURN(config.intermediate_size, metadata.Int("feed_forward_length"));
  ASSIGN_OR_RETURN(config.num_layers, metadata.Int("block_count"));
  ASSIGN_OR_RETURN(config.num_heads, metadata.Int("attention.head_count"));
  ASSIGN_OR_RETURN(config.num_kv_heads, metadata.IntOr("attention.head_count_kv", config.num_heads));
  ASSIGN_OR_RETURN(config.head_dim, HeadDim(metadata, config));
  ASSIGN_OR_RETURN(config.context_length, metadata.Int("context_length"));
  ASSIGN_OR_RETURN(const double norm_epsilon, metadata.Float("attention.layer_norm_rms_epsilon"));
  config.norm_epsilon = static_cast<float>(norm_epsilon);
  ASSIGN_OR_RETURN(config.sliding_window, metadata.IntOr("attention.sliding_window", 0));
  config.tied_embeddings = !checkpoint.HasTensor(TensorNames().output_head);
  config.rope_kind = RopeKind::kInterleaved;
  ASSIGN_OR_RETURN(config.inverse_frequencies, ReadRope(checkpoint, metadata, config.head_dim));
  return config;
}

}  // namespace quire
