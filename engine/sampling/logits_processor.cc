#include "engine/sampling/logits_processor.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace quire {
namespace {

constexpr int32_t kUnseen = -1;
constexpr float kForbidden = -std::numeric_limits<float>::infinity();

}  // namespace

LogitsProcessor::LogitsProcessor(int vocab_size, std::vector<TokenId> eos_token_ids)
    : eos_token_ids_(std::move(eos_token_ids)), logits_(vocab_size), counts_(vocab_size, kUnseen) {}

std::span<const float> LogitsProcessor::Apply(std::span<const float> logits, const LogitRow& row) {
  const SamplingParams& params = *row.params;
  if (params.logit_bias.empty() && row.allowed.empty() && !row.forbid_stop && !params.penalizes()) return logits;
  logits_.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) logits_[token] += bias;
  if (!row.allowed.empty()) ForbidAllBut(row.allowed);
  if (row.forbid_stop) {
    for (TokenId token : eos_token_ids_) logits_[token] = kForbidden;
    for (TokenId token : params.stop_token_ids) logits_[token] = kForbidden;
  }
  if (params.penalizes()) Penalize(row);
  return logits_;
}

// A mask is mostly words of one kind, for which there is nothing to do or nothing to ask.
void LogitsProcessor::ForbidAllBut(std::span<const uint32_t> allowed) {
  constexpr size_t kWordBits = 32;
  for (size_t begin = 0; begin < logits_.size(); begin += kWordBits) {
    const uint32_t word = allowed[begin / kWordBits];
    if (word == ~uint32_t{0}) continue;
    const size_t end = std::min(begin + kWordBits, logits_.size());
    for (size_t token = begin; token < end; ++token) {
      if ((word >> (token - begin) & 1) == 0) logits_[token] = kForbidden;
    }
  }
}

// Repetition looks at prompt and output, presence and frequency at the output alone; each distinct token is visited
// once.
void LogitsProcessor::Penalize(const LogitRow& row) {
  const SamplingParams& params = *row.params;
  seen_tokens_.clear();
  const size_t num_prompt_tokens = row.num_prompt_tokens;
  for (size_t i = params.repeats() ? 0 : num_prompt_tokens; i < row.tokens.size(); ++i) {
    int32_t& count = counts_[row.tokens[i]];
    if (count == kUnseen) {
      count = 0;
      seen_tokens_.push_back(row.tokens[i]);
    }
    if (i >= num_prompt_tokens) ++count;
  }
  for (TokenId token : seen_tokens_) {
    const int32_t count = std::exchange(counts_[token], kUnseen);
    float& logit = logits_[token];
    // Dividing a negative logit would make the token likelier, so those are multiplied.
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    logit -= params.frequency_penalty * static_cast<float>(count);
    if (count > 0) logit -= params.presence_penalty;
  }
}

}  // namespace quire
