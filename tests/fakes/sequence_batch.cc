#include "tests/fakes/sequence_batch.h"

namespace quire {

void AddSequence(std::span<const TokenId> tokens, int num_computed, int num_new, int first_page, int page_size,
                 Batch& batch) {
  if (batch.query_start.empty()) {
    batch.query_start.push_back(0);
    batch.block_indptr.push_back(0);
  }
  const int context_len = num_computed + num_new;
  for (int position = num_computed; position < context_len; ++position) {
    batch.token_ids.push_back(tokens[position]);
    batch.positions.push_back(position);
    batch.slot_mapping.push_back(first_page * page_size + position);
  }
  for (int page = 0; page * page_size < context_len; ++page) batch.block_indices.push_back(first_page + page);
  batch.query_start.push_back(batch.num_tokens());
  batch.context_lens.push_back(context_len);
  batch.block_indptr.push_back(static_cast<int32_t>(batch.block_indices.size()));
}

}  // namespace quire
