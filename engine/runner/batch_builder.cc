#include "engine/runner/batch_builder.h"

#include "kernels/check.h"

namespace quire {
namespace {

void AppendTokens(const ScheduledSequence& scheduled, int block_size, Batch& batch) {
  const Sequence& sequence = *scheduled.sequence;
  const int end = sequence.num_computed + scheduled.num_tokens;
  const std::span<const BlockId> blocks = sequence.table.blocks;
  const size_t num_blocks = (end + block_size - 1) / block_size;
  QUIRE_CHECK(num_blocks <= blocks.size());
  for (int position = sequence.num_computed; position < end; ++position) {
    batch.token_ids.push_back(sequence.tokens[position]);
    batch.positions.push_back(position);
    batch.slot_mapping.push_back(blocks[position / block_size] * block_size + position % block_size);
  }
  batch.query_start.push_back(batch.num_tokens());
  batch.context_lens.push_back(end);
  batch.block_indices.insert(batch.block_indices.end(), blocks.begin(), blocks.begin() + num_blocks);
  batch.block_indptr.push_back(static_cast<int32_t>(batch.block_indices.size()));
}

// REQUIRES: the sequence's tokens are the last ones in the batch.
void AppendLogitRows(const ScheduledSequence& scheduled, Batch& batch) {
  const Sequence& sequence = *scheduled.sequence;
  const RequestState& request = *sequence.request;
  const int first_row = batch.num_tokens() - scheduled.num_tokens;
  const auto row_after = [&](int position) {
    return LogitRow{.row = first_row + position - sequence.num_computed,
                    .params = &request.sampling,
                    .seed = sequence.seed,
                    .position = position + 1,
                    .tokens = std::span(sequence.tokens).first(position + 1),
                    .num_prompt_tokens = request.num_prompt_tokens};
  };
  for (int i = 0; i < scheduled.num_scored; ++i) {
    const int position = scheduled.first_scored + i;
    LogitRow row = row_after(position);
    row.score = sequence.tokens[position + 1];
    batch.logit_rows.push_back(row);
  }
  for (int i = 0; i < scheduled.num_sampled; ++i) {
    LogitRow row = row_after(static_cast<int>(sequence.tokens.size()) - 1);
    if (!request.forked()) row.seed = SampleSeed(request.sampling.seed, i);
    row.embed = request.embed;
    row.constraint = sequence.constraint.get();
    row.forbid_stop = sequence.num_output_tokens() < request.sampling.min_tokens;
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
