#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/sampling/counter_rng.h"
#include "kernels/check.h"

namespace quire {
namespace {

// Index of the weight that covers `target` when they are laid end to end, and never of a zero weight, even where
// rounding leaves target beyond the last. Takes from target what lies before it. REQUIRES: one weight is positive.
template <typename WeightAt>
size_t PickByWeight(size_t count, const WeightAt& weight_at, double& target) {
  size_t picked = 0;
  for (size_t i = 0; i < count; ++i) {
    const double weight = weight_at(i);
    if (weight <= 0) continue;
    picked = i;
    if (target < weight) break;
    target -= weight;
  }
  return picked;
}

TokenId DrawFrom(std::span<const Candidate> candidates, double uniform) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  double target = uniform * total;
  return candidates[PickByWeight(
                        candidates.size(), [&](size_t i) { return candidates[i].weight; }, target)]
      .token;
}

}  // namespace

absl::Status LogitsNotFinite() { return absl::InternalError("the model gave logits that are not finite"); }

Sampler::Sampler(int vocab_size, std::vector<TokenId> eos_token_ids)
    : vocab_size_(vocab_size), processor_(vocab_size, std::move(eos_token_ids)) {}

void Sampler::Sample(std::span<const float> logits, const LogitRow& row, SampledToken* out) {
  QUIRE_CHECK(logits.size() == vocab_size_);
  out->token = 0;
  out->logprob = 0;
  out->top.clear();
  out->status = AllFinite(logits) ? absl::OkStatus() : LogitsNotFinite();
  if (!out->status.ok()) return;
  if (row.score >= 0) {
    out->token = row.score;
    ReportLogprobs(logits, row.params->prompt_logprobs, out);
    return;
  }
  if (!Choose(processor_.Apply(logits, row), row, &out->token)) {
    out->status = LogitsNotFinite();
    return;
  }
  if (row.params->logprobs >= 0) ReportLogprobs(logits, row.params->logprobs, out);
}

bool Sampler::Choose(std::span<const float> logits, const LogitRow& row, TokenId* token) {
  const SamplingParams& params = *row.params;
  const RowMaximum maximum = FindMaximum(logits, block_maxima_);
  // -infinity: all are forbidden; infinity: a penalty overflowed.
  if (!std::isfinite(maximum.value)) return false;
  if (params.greedy()) {
    *token = maximum.index;
    return true;
  }
  // A temperature so small that its inverse overflows still leaves weight 1 to the maximum: 0 times a finite number.
  const SoftmaxScale scale = {maximum.value, std::min(1.0f / params.temperature, std::numeric_limits<float>::max())};
  const double uniform = UniformAt(row.seed, row.position);
  *token = TokenFilter::IsActive(params, vocab_size_)
               ? DrawFrom(filter_.Apply(logits, block_maxima_, scale, params), uniform)
               : DrawFromAll(logits, scale, uniform);
  return true;
}

// Finds the block first, so that only its weights are computed a second time.
TokenId Sampler::DrawFromAll(std::span<const float> logits, const SoftmaxScale& scale, double uniform) {
  double target = uniform * SumWeights(logits, scale, block_sums_);
  const size_t block = PickByWeight(
      block_sums_.size(), [&](size_t i) { return block_sums_[i]; }, target);
  const size_t begin = block * kLogitBlock;
  const size_t count = std::min(kLogitBlock, logits.size() - begin);
  return static_cast<TokenId>(begin + PickByWeight(
                                          count, [&](size_t i) { return Weight(logits[begin + i], scale); }, target));
}

void Sampler::ReportLogprobs(std::span<const float> logits, int num_top, SampledToken* out) {
  const float maximum = FindMaximum(logits, block_maxima_).value;
  const double log_total = std::log(SumWeights(logits, {maximum, 1.0f}, block_sums_));
  const auto logprob = [&](float logit) { return static_cast<float>(logit - maximum - log_total); };
  out->logprob = logprob(logits[out->token]);
  if (num_top <= 0) return;
  for (const Candidate& candidate : filter_.TopK(logits, block_maxima_, num_top)) {
    out->top.emplace_back(candidate.token, logprob(candidate.logit));
  }
}

}  // namespace quire
