// One step's work as the model sees it: a ragged batch, with no trace of which phase a sequence is in.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "block_manager/ids.h"
#include "engine/sampling/sampling_params.h"
#include "engine/sampling/token_constraint.h"
#include "kernels/paged_kv.h"
#include "kernels/sampling.h"

namespace quire {

// A row of the step of which something is wanted: its logits, to sample the next token or to score a known one (prompt
// log-probabilities), or its hidden state.
// Several may name the same row (the n samples of a prompt part ways there). Pointers outlive the step, and spans that
// are needed after its launch as well.
struct LogitRow {
  int32_t row = 0;                         // Into token_ids.
  const SamplingParams* params = nullptr;
  uint64_t seed = 0;                       // The sample's own: derived from params->seed and the sample's index.
  int position = 0;                        // Of the token to be chosen, in its sequence: keys the random draw.
  // The sequence so far, prompt and output: what penalties look at. Empty in a step that is launched ahead.
  std::span<const TokenId> tokens = {};
  int num_prompt_tokens = 0;
  bool forbid_stop = false;                // Below min_tokens: end-of-sequence and stop tokens cannot be chosen.
  TokenConstraint* constraint = nullptr;   // Of the sample's output; null: none. Never with `score`.
  // Bit t % 32 of word t / 32: the constraint allows token t. Empty: all are. For the sampler, see ConstraintMasks.
  std::span<const uint32_t> allowed = {};
  TokenId score = -1;                      // >= 0: do not sample; report this token's log-probability.
  bool embed = false;                      // Do not sample; report the hidden state.
};

struct Batch {
  std::vector<PageCopy> page_copies;       // Done before anything else.
  std::vector<TokenId> token_ids;          // [T] Or, in a step that is launched ahead, ChosenForRow(r) for what
                                           // logit_rows[r] of the step before chooses.
  std::vector<int32_t> positions;          // [T] In the context, which has gaps where pages were dropped,
  std::vector<int32_t> rotary_positions;   // [T] and in the sequence.
  std::vector<int32_t> slot_mapping;       // [T]
  std::vector<int32_t> query_start;        // [S+1]
  std::vector<int32_t> context_lens;       // [S]
  std::vector<int32_t> block_indptr;       // [S+1]
  std::vector<int32_t> block_indices;
  std::vector<LogitRow> logit_rows;        // [R]

  int num_tokens() const { return static_cast<int>(token_ids.size()); }
  PagedBatchView View() const {
    return {positions, slot_mapping, query_start, context_lens, block_indptr, block_indices, rotary_positions};
  }
  // Empties the batch and keeps its memory: steady steps allocate nothing.
  void Clear();
};

}  // namespace quire
