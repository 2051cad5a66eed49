#include "engine/sampling/token_filter.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace quire {
namespace {

// The end of every order of likelihood: nothing but -infinity comes after it.
constexpr Candidate kLast = {-std::numeric_limits<float>::infinity(), -1, 0};

// Weights are 0 from 87 nats on (see SoftmaxScale), so that the last bin holds nothing that counts.
constexpr float kBinsPerNat = 8.0f;
constexpr size_t kNumBins = 704;

// A total order, so that what is selected does not depend on how the selection goes about it.
bool Likelier(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

Candidate LikelierOf(const Candidate& a, const Candidate& b) { return Likelier(a, b) ? a : b; }

// Cuts a row by logit alone: whatever the id, an equal logit stays.
Candidate AtLeast(float logit) { return {logit, std::numeric_limits<TokenId>::max(), 0}; }

// Calls visit(token) for the tokens of all blocks whose maximum is not below what floor() says when the block's turn
// comes.
template <typename Floor, typename Visit>
void ForEachInBlocksFrom(Floor floor, size_t vocab_size, std::span<const float> block_maxima, Visit visit) {
  for (size_t block = 0; block < block_maxima.size(); ++block) {
    if (block_maxima[block] < floor()) continue;
    const size_t end = std::min(vocab_size, (block + 1) * kLogitBlock);
    for (size_t token = block * kLogitBlock; token < end; ++token) visit(static_cast<TokenId>(token));
  }
}

// All tokens down to and including `last`, by ascending id.
void Gather(std::span<const float> logits, std::span<const float> block_maxima, const Candidate& last,
            std::vector<Candidate>& out) {
  out.clear();
  const auto floor = [&] { return last.logit; };
  ForEachInBlocksFrom(floor, logits.size(), block_maxima, [&](TokenId token) {
    const Candidate candidate = {logits[token], token, 0};
    if (candidate.logit >= last.logit && !Likelier(last, candidate)) out.push_back(candidate);
  });
}

// A logit that the nucleus of top_p cannot reach down to: all tokens below it together weigh less than what top_p
// leaves out, since there are fewer than vocab_size of them.
Candidate BelowNucleus(size_t vocab_size, double total, const SoftmaxScale& scale, const SamplingParams& params) {
  constexpr double kRoundingSlack = 0.5;
  const double weight = kRoundingSlack * (1.0 - params.top_p) * total / static_cast<double>(vocab_size);
  return AtLeast(scale.maximum + params.temperature * std::log(static_cast<float>(weight)));
}

}  // namespace

bool TokenFilter::IsActive(const SamplingParams& params, size_t vocab_size) {
  const bool top_k = params.top_k > 0 && static_cast<size_t>(params.top_k) < vocab_size;
  return top_k || params.top_p < 1.0f || params.min_p > 0.0f;
}

std::span<const Candidate> TokenFilter::Apply(std::span<const float> logits, std::span<const float> block_maxima,
                                              const SoftmaxScale& scale, const SamplingParams& params) {
  Candidate last = kLast;
  if (params.min_p > 0.0f) last = AtLeast(scale.maximum + params.temperature * std::log(params.min_p));
  if (params.top_k > 0) last = LikelierOf(last, KthLikeliest(logits, block_maxima, params.top_k));
  const bool whole_row = params.min_p <= 0.0f && params.top_k == 0;
  double total = 0;
  if (whole_row) {
    total = SumWeights(logits, scale, block_sums_);
    last = BelowNucleus(logits.size(), total, scale, params);
  }
  Gather(logits, block_maxima, last, kept_);
  for (Candidate& candidate : kept_) {
    candidate.weight = Weight(candidate.logit, scale);
    if (!whole_row) total += candidate.weight;
  }
  if (params.top_p < 1.0f) KeepNucleus(params.top_p * total, scale);
  return kept_;
}

std::span<const Candidate> TokenFilter::TopK(std::span<const float> logits, std::span<const float> block_maxima,
                                             size_t k) {
  Gather(logits, block_maxima, KthLikeliest(logits, block_maxima, k), kept_);
  std::sort(kept_.begin(), kept_.end(), Likelier);
  return kept_;
}

// Keeps up to 2k tokens that may be among the k likeliest, and thins them to k, raising the bar, whenever they are that
// many.
Candidate TokenFilter::KthLikeliest(std::span<const float> logits, std::span<const float> block_maxima, size_t k) {
  selection_.clear();
  if (k >= logits.size()) return kLast;
  float bar = kLast.logit;
  const auto thin = [&] {
    std::nth_element(selection_.begin(), selection_.begin() + (k - 1), selection_.end(), Likelier);
    selection_.resize(k);
    bar = selection_.back().logit;
  };
  const auto floor = [&] { return bar; };
  ForEachInBlocksFrom(floor, logits.size(), block_maxima, [&](TokenId token) {
    // Ids ascend, so a token level with the bar comes after the k that set it.
    if (!(logits[token] > bar)) return;
    selection_.push_back({logits[token], token, 0});
    if (selection_.size() == 2 * k) thin();
  });
  if (selection_.size() < k) return kLast;
  thin();
  return selection_.back();
}

// Drops all but the fewest candidates, likeliest first, that together weigh `mass`. A histogram over logits finds the
// narrow range in which the last of them lies; that range is halved until it is one candidate. Linear in their number.
void TokenFilter::KeepNucleus(double mass, const SoftmaxScale& scale) {
  const auto bin_of = [&](const Candidate& candidate) {
    const float distance = (scale.maximum - candidate.logit) * scale.inverse_temperature;
    return static_cast<size_t>(std::min(distance * kBinsPerNat, static_cast<float>(kNumBins - 1)));
  };
  bin_weights_.assign(kNumBins, 0.0);
  for (const Candidate& candidate : kept_) bin_weights_[bin_of(candidate)] += candidate.weight;
  size_t bin = 0;
  for (; bin < kNumBins - 1 && bin_weights_[bin] < mass; ++bin) mass -= bin_weights_[bin];

  selection_.clear();
  std::copy_if(kept_.begin(), kept_.end(), std::back_inserter(selection_),
               [&](const Candidate& candidate) { return bin_of(candidate) == bin; });
  if (selection_.empty()) return;  // Rounding left a little of mass after the last candidate.
  auto begin = selection_.begin();
  auto end = selection_.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, Likelier);
    double likelier_half = 0;
    for (auto it = begin; it != middle; ++it) likelier_half += it->weight;
    if (likelier_half >= mass) {
      end = middle;
    } else {
      mass -= likelier_half;
      begin = middle;
    }
  }
  std::erase_if(kept_, [&](const Candidate& candidate) { return Likelier(*begin, candidate); });
}

}  // namespace quire
