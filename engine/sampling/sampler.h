// Sampler: chooses a token from a row of logits as a request's SamplingParams ask.
//
// The order is that of vLLM: logit bias, forbidden tokens, penalties, temperature, min_p, top_k, top_p, draw. The
// choice is a function of (logits, params, tokens so far, seed, position) alone. Greedy takes the likeliest token, the
// lowest id where several are.
//
// Log-probabilities are those of the model: the log-softmax of its logits before anything of that.
#pragma once

#include <span>
#include <vector>

#include "engine/runner/batch.h"
#include "engine/runner/model_runner.h"
#include "engine/sampling/logits_processor.h"
#include "engine/sampling/token_filter.h"

namespace quire {

// What becomes of a token that cannot be chosen for its logits.
absl::Status LogitsNotFinite();

// Not thread-safe: scratch is reused, and steady use allocates nothing.
class Sampler {
 public:
  Sampler(int vocab_size, std::vector<TokenId> eos_token_ids);

  // Fills all of *out. Its logprob and top are set where the row asks for them: params->logprobs for a token to choose,
  // params->prompt_logprobs for one to score (whose logprob is always set). LogitsNotFinite when a logit is NaN or
  // infinite, or when nothing is left to choose from. REQUIRES: logits.size() is vocab_size, and *row.params passed
  // Validate.
  void Sample(std::span<const float> logits, const LogitRow& row, SampledToken* out);

 private:
  bool Choose(std::span<const float> logits, const LogitRow& row, TokenId* token);
  TokenId DrawFromAll(std::span<const float> logits, const SoftmaxScale& scale, double uniform);
  void ReportLogprobs(std::span<const float> logits, int num_top, SampledToken* out);

  size_t vocab_size_;
  LogitsProcessor processor_;
  TokenFilter filter_;
  std::vector<float> block_maxima_;
  std::vector<double> block_sums_;
};

}  // namespace quire
