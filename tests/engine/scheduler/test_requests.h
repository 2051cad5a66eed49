// Requests as the scheduler sees them, without an engine around.
#pragma once

#include <memory>
#include <numeric>
#include <vector>

#include "engine/types/sequence.h"

namespace quire {

// Its one sequence has `num_tokens` tokens, different from every other ordinal's.
inline std::unique_ptr<RequestState> MakeState(uint64_t ordinal, int num_tokens, int priority = 0) {
  auto request = std::make_unique<RequestState>();
  request->id = ordinal;
  request->ordinal = ordinal;
  request->priority = priority;
  request->num_prompt_tokens = num_tokens;
  auto sequence = std::make_unique<Sequence>();
  sequence->request = request.get();
  sequence->tokens.resize(num_tokens);
  std::iota(sequence->tokens.begin(), sequence->tokens.end(), static_cast<TokenId>(1000 * ordinal));
  request->sequences.push_back(std::move(sequence));
  return request;
}

}  // namespace quire
