// How a request wants its tokens chosen. Defaults and meanings as in proto/quire/v1/inference.proto.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "block_manager/ids.h"

namespace quire {

struct SamplingParams {
  float temperature = 1.0f;
  float top_p = 1.0f;
  int top_k = 0;  // 0: all
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
  int max_tokens = 0;  // 0: as many as fit; resolved at Submit
  int min_tokens = 0;
  std::vector<std::string> stop = {};
  std::vector<TokenId> stop_token_ids = {};
  bool ignore_eos = false;
  int n = 1;
  std::vector<std::pair<TokenId, float>> logit_bias = {};
  int logprobs = -1;         // Alternatives to report for each new token; -1: no log-probabilities.
  int prompt_logprobs = -1;  // The same for the prompt.

  bool greedy() const { return temperature == 0.0f; }
  bool repeats() const { return repetition_penalty != 1.0f; }
  bool penalizes() const { return repeats() || presence_penalty != 0.0f || frequency_penalty != 0.0f; }
};

// INVALID_ARGUMENT with "sampling_params.<field> must be ..., got ..." for the first value out of range. Token ids are
// checked against vocab_size.
absl::Status Validate(const SamplingParams& params, int vocab_size);

}  // namespace quire
