#include "tests/engine/sampling/naive_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "engine/sampling/counter_rng.h"

namespace quire {
namespace {

std::vector<double> Process(std::span<const float> logits, const LogitRow& row, const std::vector<TokenId>& eos) {
  const SamplingParams& params = *row.params;
  std::vector<double> out(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) out[token] += bias;
  for (size_t token = 0; token < out.size() && !row.allowed.empty(); ++token) {
    if ((row.allowed[token / 32] >> token % 32 & 1) == 0) out[token] = -std::numeric_limits<double>::infinity();
  }
  if (row.forbid_stop) {
    for (TokenId token : eos) out[token] = -std::numeric_limits<double>::infinity();
    for (TokenId token : params.stop_token_ids) out[token] = -std::numeric_limits<double>::infinity();
  }
  for (TokenId token : std::set<TokenId>(row.tokens.begin(), row.tokens.end())) {
    out[token] = out[token] > 0 ? out[token] / params.repetition_penalty : out[token] * params.repetition_penalty;
  }
  std::map<TokenId, int> counts;
  for (TokenId token : row.tokens.subspan(row.num_prompt_tokens)) ++counts[token];
  for (const auto& [token, count] : counts) {
    out[token] -= static_cast<double>(params.frequency_penalty) * count + params.presence_penalty;
  }
  return out;
}

void Normalize(std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= total;
}

}  // namespace

std::vector<double> LogProbabilities(std::span<const float> logits) {
  const double maximum = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (double logit : logits) total += std::exp(logit - maximum);
  std::vector<double> out;
  for (double logit : logits) out.push_back(logit - maximum - std::log(total));
  return out;
}

NaiveChoice SampleNaively(std::span<const float> logits, const LogitRow& row,
                          const std::vector<TokenId>& eos_token_ids) {
  const SamplingParams& params = *row.params;
  const std::vector<double> processed = Process(logits, row, eos_token_ids);
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return processed[a] > processed[b]; });
  const double maximum = processed[order[0]];

  NaiveChoice choice;
  choice.probabilities.assign(logits.size(), 0);
  if (params.greedy()) {
    choice.token = order[0];
    choice.probabilities[order[0]] = 1;
    return choice;
  }
  std::vector<double>& p = choice.probabilities;
  for (TokenId token : order) p[token] = std::exp((processed[token] - maximum) / params.temperature);
  for (size_t rank = 0; rank < order.size(); ++rank) {
    double& weight = p[order[rank]];
    if (params.min_p > 0) choice.margin = std::min(choice.margin, std::abs(weight - params.min_p));
    if (weight < params.min_p || (params.top_k > 0 && rank >= static_cast<size_t>(params.top_k))) weight = 0;
  }
  Normalize(p);
  if (params.top_p < 1) {
    double reached = 0;
    for (TokenId token : order) {
      if (reached >= params.top_p) {
        p[token] = 0;
        continue;
      }
      reached += p[token];
      choice.margin = std::min(choice.margin, std::abs(reached - params.top_p));
    }
    Normalize(p);
  }
  const double target = UniformAt(row.seed, row.position);
  double reached = 0;
  for (size_t token = 0; token < p.size(); ++token) {
    if (p[token] == 0) continue;
    choice.margin = std::min(choice.margin, std::abs(reached + p[token] - target));
    if (target >= reached) choice.token = static_cast<TokenId>(token);
    reached += p[token];
  }
  return choice;
}

}  // namespace quire
