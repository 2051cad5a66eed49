#include "engine/sampling/sampling_params.h"

#include <cmath>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr int kMaxSamples = 64;
constexpr int kMaxLogprobs = 20;
constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopStringBytes = 1024;
constexpr size_t kMaxStopTokens = 256;
constexpr size_t kMaxLogitBiases = 1024;
constexpr float kMaxLogitBias = 100.0f;

template <typename T>
absl::Status Refuse(const std::string& field, const std::string& want, const T& got) {
  return absl::InvalidArgumentError(absl::StrCat("sampling_params.", field, " must be ", want, ", got ", got));
}

enum class Lower { kInclusive, kExclusive };

// A NaN fails every comparison and so is refused with the rest.
absl::Status InRange(const std::string& field, float value, float low, float high, Lower lower = Lower::kInclusive) {
  const bool above = lower == Lower::kInclusive ? value >= low : value > low;
  if (above && value <= high) return absl::OkStatus();
  return Refuse(field, absl::StrCat("in ", lower == Lower::kInclusive ? "[" : "(", low, ", ", high, "]"), value);
}

absl::Status InRange(const std::string& field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  if (high == std::numeric_limits<int>::max()) return Refuse(field, absl::StrCat("at least ", low), value);
  return Refuse(field, absl::StrCat("in [", low, ", ", high, "]"), value);
}

absl::Status CountAtMost(const std::string& field, size_t count, size_t limit) {
  if (count <= limit) return absl::OkStatus();
  return Refuse(field, absl::StrCat("at most ", limit, " entries"), count);
}

absl::Status InVocabulary(const std::string& field, TokenId token, int vocab_size) {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return Refuse(field, absl::StrCat("a token id in [0, ", vocab_size, ")"), token);
}

absl::Status ValidateStops(const SamplingParams& params, int vocab_size) {
  RETURN_IF_ERROR(CountAtMost("stop", params.stop.size(), kMaxStopStrings));
  for (size_t i = 0; i < params.stop.size(); ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    if (params.stop[i].empty()) return Refuse(field, "a string that is not empty", "\"\"");
    if (params.stop[i].size() > kMaxStopStringBytes) {
      return Refuse(field, absl::StrCat("at most ", kMaxStopStringBytes, " bytes long"), params.stop[i].size());
    }
  }
  RETURN_IF_ERROR(CountAtMost("stop_token_ids", params.stop_token_ids.size(), kMaxStopTokens));
  for (size_t i = 0; i < params.stop_token_ids.size(); ++i) {
    RETURN_IF_ERROR(InVocabulary(absl::StrCat("stop_token_ids[", i, "]"), params.stop_token_ids[i], vocab_size));
  }
  return absl::OkStatus();
}

absl::Status ValidateLogitBias(const SamplingParams& params, int vocab_size) {
  RETURN_IF_ERROR(CountAtMost("logit_bias", params.logit_bias.size(), kMaxLogitBiases));
  for (const auto& [token, bias] : params.logit_bias) {
    RETURN_IF_ERROR(InVocabulary("logit_bias key", token, vocab_size));
    RETURN_IF_ERROR(InRange(absl::StrCat("logit_bias[", token, "]"), bias, -kMaxLogitBias, kMaxLogitBias));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const SamplingParams& params, int vocab_size) {
  constexpr int kNoLimit = std::numeric_limits<int>::max();
  RETURN_IF_ERROR(InRange("temperature", params.temperature, 0.0f, 100.0f));
  RETURN_IF_ERROR(InRange("top_p", params.top_p, 0.0f, 1.0f, Lower::kExclusive));
  RETURN_IF_ERROR(InRange("top_k", params.top_k, 0, kNoLimit));
  RETURN_IF_ERROR(InRange("min_p", params.min_p, 0.0f, 1.0f));
  RETURN_IF_ERROR(InRange("repetition_penalty", params.repetition_penalty, 0.0f, 10.0f, Lower::kExclusive));
  RETURN_IF_ERROR(InRange("presence_penalty", params.presence_penalty, -2.0f, 2.0f));
  RETURN_IF_ERROR(InRange("frequency_penalty", params.frequency_penalty, -2.0f, 2.0f));
  RETURN_IF_ERROR(InRange("max_tokens", params.max_tokens, 0, kNoLimit));
  RETURN_IF_ERROR(InRange("min_tokens", params.min_tokens, 0, kNoLimit));
  if (params.max_tokens > 0 && params.min_tokens > params.max_tokens) {
    return Refuse("min_tokens", absl::StrCat("at most max_tokens (", params.max_tokens, ")"), params.min_tokens);
  }
  RETURN_IF_ERROR(ValidateStops(params, vocab_size));
  RETURN_IF_ERROR(InRange("n", params.n, 1, kMaxSamples));
  RETURN_IF_ERROR(ValidateLogitBias(params, vocab_size));
  RETURN_IF_ERROR(InRange("logprobs", params.logprobs, -1, kMaxLogprobs));
  return InRange("prompt_logprobs", params.prompt_logprobs, -1, kMaxLogprobs);
}

}  // namespace quire
