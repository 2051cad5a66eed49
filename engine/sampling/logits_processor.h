// LogitsProcessor: what a request adds to or takes from the model's logits before a token is chosen: logit bias, what
// its constraint does not allow, forbidden stop tokens, and penalties, in this order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/runner/batch.h"

namespace quire {

// Not thread-safe: scratch is reused between calls.
class LogitsProcessor {
 public:
  LogitsProcessor(int vocab_size, std::vector<TokenId> eos_token_ids);

  // The logits that `row` chooses from, valid until the next call: `logits` itself where the row asks for nothing, else
  // a changed copy, in which forbidden tokens are -infinity. logits.size() is the vocabulary's; row.params is checked.
  std::span<const float> Apply(std::span<const float> logits, const LogitRow& row);

 private:
  void ForbidAllBut(std::span<const uint32_t> allowed);
  void Penalize(const LogitRow& row);

  std::vector<TokenId> eos_token_ids_;
  std::vector<float> logits_;         // [vocab]
  std::vector<int32_t> counts_;       // [vocab]: occurrences in the output, kUnseen everywhere between calls.
  std::vector<TokenId> seen_tokens_;  // Whose counts_ are not kUnseen.
};

}  // namespace quire
