// The sampler as its definition reads, in double precision and with a full sort: what the fast one is compared with.
#pragma once

#include <span>
#include <vector>

#include "engine/runner/batch.h"

namespace quire {

struct NaiveChoice {
  TokenId token = 0;
  std::vector<double> probabilities;  // [vocab], after every filter.
  // How far the choice is from another one, in probability: rounding may excuse a difference below about 1e-5.
  double margin = 1;
};

NaiveChoice SampleNaively(std::span<const float> logits, const LogitRow& row,
                          const std::vector<TokenId>& eos_token_ids);

// log-softmax.
std::vector<double> LogProbabilities(std::span<const float> logits);

}  // namespace quire
