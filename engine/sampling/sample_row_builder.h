// SampleRowBuilder: says what a request asks of its logits in the terms of kernels/sampling.h, for a backend that
// samples on its device. What it asks for is what LogitsProcessor and Sampler do.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/runner/batch.h"
#include "kernels/sampling.h"

namespace quire {

// Not thread-safe: scratch is reused, and steady use allocates nothing. A row with penalties costs time in proportion
// to the tokens that they look at; others do not.
class SampleRowBuilder {
 public:
  SampleRowBuilder(int vocab_size, std::vector<TokenId> eos_token_ids);

  // What `row` asks for; its adjustments are valid until the next call. `logits_row`: where the caller has its logits.
  // Adjustments make of the logits what LogitsProcessor::Apply makes of them, to the bit. REQUIRES: row.score < 0,
  // row.params is checked and names no token twice in logit_bias.
  SampleRow Build(const LogitRow& row, int32_t logits_row);

 private:
  TokenAdjustment& AdjustmentOf(TokenId token);
  void Count(const LogitRow& row);

  std::vector<TokenId> eos_token_ids_;
  std::vector<TokenAdjustment> adjustments_;
  std::vector<int32_t> index_;  // [vocab]: of the token in adjustments_; kNone everywhere between calls.
};

}  // namespace quire
