#include "engine/sampling/sample_row_builder.h"

#include <utility>

#include "engine/sampling/counter_rng.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr int32_t kNone = -1;

}  // namespace

SampleRowBuilder::SampleRowBuilder(int vocab_size, std::vector<TokenId> eos_token_ids)
    : eos_token_ids_(std::move(eos_token_ids)), index_(vocab_size, kNone) {}

SampleRow SampleRowBuilder::Build(const LogitRow& row, int32_t logits_row) {
  QUIRE_CHECK(row.score < 0);
  const SamplingParams& params = *row.params;
  adjustments_.clear();
  for (const auto& [token, bias] : params.logit_bias) AdjustmentOf(token).bias = bias;
  if (row.forbid_stop) {
    for (TokenId token : eos_token_ids_) AdjustmentOf(token).forbidden = true;
    for (TokenId token : params.stop_token_ids) AdjustmentOf(token).forbidden = true;
  }
  if (params.penalizes()) Count(row);
  for (const TokenAdjustment& adjustment : adjustments_) index_[adjustment.token] = kNone;
  return {.logits_row = logits_row,
          .temperature = params.temperature,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .top_k = params.top_k,
          .repetition_penalty = params.repetition_penalty,
          .presence_penalty = params.presence_penalty,
          .frequency_penalty = params.frequency_penalty,
          .uniform = UniformAt(row.seed, row.position),
          .adjustments = adjustments_,
          .allowed = row.allowed};
}

// Repetition looks at prompt and output, presence and frequency at the output alone.
void SampleRowBuilder::Count(const LogitRow& row) {
  const size_t num_prompt_tokens = row.num_prompt_tokens;
  for (size_t i = row.params->repeats() ? 0 : num_prompt_tokens; i < row.tokens.size(); ++i) {
    TokenAdjustment& adjustment = AdjustmentOf(row.tokens[i]);
    adjustment.seen = true;
    if (i >= num_prompt_tokens) ++adjustment.output_count;
  }
}

TokenAdjustment& SampleRowBuilder::AdjustmentOf(TokenId token) {
  int32_t& index = index_[token];
  if (index == kNone) {
    index = static_cast<int32_t>(adjustments_.size());
    adjustments_.push_back({.token = token});
  }
  return adjustments_[index];
}

}  // namespace quire
