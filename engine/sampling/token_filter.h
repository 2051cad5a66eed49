// TokenFilter: which tokens stay in the draw under min_p, top_k and top_p, found by selection and never by sorting the
// row.
#pragma once

#include <span>
#include <vector>

#include "block_manager/ids.h"
#include "engine/sampling/logit_passes.h"
#include "engine/sampling/sampling_params.h"

namespace quire {

struct Candidate {
  float logit = 0;
  TokenId token = 0;
  float weight = 0;  // See SoftmaxScale.
};

// Not thread-safe: scratch is reused between calls. Results are valid until the next call. Between tokens of equal
// logits the lower id counts as the likelier one. `block_maxima` is what FindMaximum gave for the same logits.
class TokenFilter {
 public:
  // Whether these parameters can drop any token of a vocabulary.
  static bool IsActive(const SamplingParams& params, size_t vocab_size);

  // The tokens that are left, by ascending id: those at least min_p times as likely as the likeliest, of these the
  // top_k likeliest, and of these the fewest whose probability, renormalised over them, reaches top_p. Never empty.
  // REQUIRES: IsActive, and scale is that of the row's maximum (finite) and of params.temperature.
  std::span<const Candidate> Apply(std::span<const float> logits, std::span<const float> block_maxima,
                                   const SoftmaxScale& scale, const SamplingParams& params);

  // The k likeliest tokens (all, where there are fewer), likeliest first; weights are not filled in. REQUIRES: k >= 1.
  std::span<const Candidate> TopK(std::span<const float> logits, std::span<const float> block_maxima, size_t k);

 private:
  Candidate KthLikeliest(std::span<const float> logits, std::span<const float> block_maxima, size_t k);
  void KeepNucleus(double mass, const SoftmaxScale& scale);

  std::vector<Candidate> kept_;
  std::vector<Candidate> selection_;  // Scratch that selection may reorder.
  std::vector<double> bin_weights_;
  std::vector<double> block_sums_;
};

}  // namespace quire
