#include "engine/model/model_config.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

// Far above any model, and small enough for every product of two sizes.
constexpr int kMaxSize = 1 << 24;
constexpr int kMaxLayers = 1 << 12;
constexpr int kMaxHeadDim = 1024;
constexpr int kHeadDimMultiple = 16;

absl::Status CheckRange(const char* name, int value, int most) {
  if (value >= 1 && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " must be 1 to ", most, ", got ", value));
}

absl::Status ValidateAttention(const ModelConfig& config) {
  RETURN_IF_ERROR(CheckRange("num_heads", config.num_heads, kMaxSize / kMaxHeadDim));
  RETURN_IF_ERROR(CheckRange("num_kv_heads", config.num_kv_heads, config.num_heads));
  if (config.num_heads % config.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("num_kv_heads must divide num_heads, got ", config.num_kv_heads,
                                                   " KV heads for ", config.num_heads, " heads"));
  }
  RETURN_IF_ERROR(CheckRange("head_dim", config.head_dim, kMaxHeadDim));
  if (config.head_dim % kHeadDimMultiple != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_dim must be a multiple of ", kHeadDimMultiple, ", got ", config.head_dim));
  }
  if (config.sliding_window < 0) {
    return absl::InvalidArgumentError(absl::StrCat("sliding_window must not be negative, got ", config.sliding_window));
  }
  return absl::OkStatus();
}

absl::Status ValidateRope(const ModelConfig& config) {
  if (static_cast<int>(config.inverse_frequencies.size()) > config.head_dim / 2) {
    return absl::InvalidArgumentError(absl::StrCat("RoPE rotates at most head_dim / 2 = ", config.head_dim / 2,
                                                   " pairs, got ", config.inverse_frequencies.size()));
  }
  for (const float frequency : config.inverse_frequencies) {
    if (!std::isfinite(frequency) || frequency < 0) {
      return absl::InvalidArgumentError(absl::StrCat("RoPE frequencies must be finite, got ", frequency));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const ModelConfig& config) {
  RETURN_IF_ERROR(CheckRange("vocab_size", config.vocab_size, kMaxSize));
  RETURN_IF_ERROR(CheckRange("hidden_size", config.hidden_size, kMaxSize));
  RETURN_IF_ERROR(CheckRange("intermediate_size", config.intermediate_size, kMaxSize));
  RETURN_IF_ERROR(CheckRange("num_layers", config.num_layers, kMaxLayers));
  RETURN_IF_ERROR(CheckRange("context_length", config.context_length, 1 << 30));
  RETURN_IF_ERROR(ValidateAttention(config));
  RETURN_IF_ERROR(ValidateRope(config));
  if (!std::isfinite(config.norm_epsilon) || config.norm_epsilon <= 0 || config.norm_epsilon >= 1) {
    return absl::InvalidArgumentError(absl::StrCat("norm_epsilon must be in (0, 1), got ", config.norm_epsilon));
  }
  return absl::OkStatus();
}

}  // namespace quire
