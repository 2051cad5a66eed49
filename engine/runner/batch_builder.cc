#include "engine/runner/batch_builder.h"

#include "kernels/check.h"

namespace quire {
namespace {

// Tokens from places [begin, end) of the sequence's pages, at positions that lie `gap` further on.
struct Stretch {
  std::span<const TokenId> tokens;
  int begin = 0;
  int end = 0;
  int gap = 0;
};

void AppendStretch(const Stretch& stretch, std::span<const BlockId> blocks, int block_size, Batch& batch) {
  const size_t num_blocks = (stretch.end + block_size - 1) / block_size;
  QUIRE_CHECK(num_blocks <= blocks.size());
  batch.token_ids.insert(batch.token_ids.end(), stretch.tokens.begin(), stretch.tokens.end());
  for (int place = stretch.begin; place < stretch.end; ++place) {
    batch.positions.push_back(place);
    batch.rotary_positions.push_back(place + stretch.gap);
    batch.slot_mapping.push_back(blocks[place / block_size] * block_size + place % block_size);
  }
  batch.query_start.push_back(batch.num_tokens());
  batch.context_lens.push_back(stretch.end);
  batch.block_indices.insert(batch.block_indices.end(), blocks.begin(), blocks.begin() + num_blocks);
  batch.block_indptr.push_back(static_cast<int32_t>(batch.block_indices.size()));
}

// Tokens that are computed anew are a context of their own, of which no logits are wanted; the others see their pages.
void AppendTokens(const ScheduledSequence& scheduled, int block_size, Batch& batch) {
  const Sequence& sequence = *scheduled.sequence;
  const std::span<const TokenId> tokens = sequence.tokens;
  const int gap = sequence.num_dropped;
  if (const int num = scheduled.num_refreshed; num > 0) {
    AppendStretch({tokens.first(num), 0, num, gap}, sequence.table.blocks, block_size, batch);
  }
  const TokenId to_be_chosen = ChosenForRow(scheduled.follows_row);
  const int begin = sequence.PlaceOf(scheduled.first_position());
  AppendStretch({scheduled.follows_row >= 0 ? std::span(&to_be_chosen, 1)
                                            : tokens.subspan(sequence.num_computed, scheduled.num_tokens),
                 begin, begin + scheduled.num_tokens, gap},
                sequence.table.blocks, block_size, batch);
}

// REQUIRES: the sequence's tokens are the last ones in the batch.
void AppendLogitRows(const ScheduledSequence& scheduled, Batch& batch) {
  const Sequence& sequence = *scheduled.sequence;
  const RequestState& request = *sequence.request;
  const bool is_known = scheduled.follows_row < 0;
  const int first_row = batch.num_tokens() - scheduled.num_tokens;
  const auto row_after = [&](int position) {
    return LogitRow{.row = first_row + position - scheduled.first_position(),
                    .params = &request.sampling,
                    .seed = sequence.seed,
                    .position = position + 1,
                    .tokens = std::span(sequence.tokens).first(is_known ? position + 1 : 0),
                    .num_prompt_tokens = request.num_prompt_tokens};
  };
  for (int i = 0; i < scheduled.num_scored; ++i) {
    const int position = scheduled.first_scored + i;
    LogitRow row = row_after(position);
    row.score = sequence.tokens[position + 1];
    batch.logit_rows.push_back(row);
  }
  for (int i = 0; i < scheduled.num_sampled; ++i) {
    LogitRow row = row_after(scheduled.first_position() + scheduled.num_tokens - 1);
    if (!request.forked()) row.seed = SampleSeed(request.sampling.seed, i);
    row.embed = request.embed;
    row.constraint = sequence.constraint.get();
    row.forbid_stop = row.position - request.num_prompt_tokens < request.sampling.min_tokens;
    batch.logit_rows.push_back(row);
  }
}

}  // namespace

void BuildBatch(const Schedule& schedule, const BlockManager& blocks, Batch& batch) {
  batch.Clear();
  for (const BlockCopy& copy : blocks.pending_copies()) {
    batch.page_copies.push_back({copy.source, copy.destination, copy.num_tokens});
  }
  batch.query_start.push_back(0);
  batch.block_indptr.push_back(0);
  for (const ScheduledSequence& scheduled : schedule.sequences) {
    AppendTokens(scheduled, blocks.block_size(), batch);
    AppendLogitRows(scheduled, batch);
  }
}

}  // namespace quire
