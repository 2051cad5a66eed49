// The plan of one step: which sequences compute how many tokens, and which rows of the result are wanted.
#pragma once

#include <vector>

#include "engine/types/sequence.h"

namespace quire {

struct ScheduledSequence {
  Sequence* sequence = nullptr;
  int num_tokens = 0;  // From sequence->num_computed on, >= 1.
  int num_refreshed = 0;  // Tokens from the first one on, computed besides: see KvWindow.
  // Prompt positions [first_scored, first_scored + num_scored): their rows are scored against the token that follows.
  int first_scored = 0;
  int num_scored = 0;
  // Tokens sampled from the last row: none while more is to be computed; the first time one for each sample.
  int num_sampled = 0;
  // In a step that was planned ahead: the row of the step before it whose choice is the token to be computed, the first
  // that the sequence does not know yet. -1: the tokens are known.
  int follows_row = -1;

  // Of the first token that is computed.
  int first_position() const {
    return follows_row < 0 ? sequence->num_computed : static_cast<int>(sequence->tokens.size());
  }
};

struct Schedule {
  std::vector<ScheduledSequence> sequences;
  int num_tokens = 0;
};

}  // namespace quire
