#include "engine/runner/batch.h"

namespace quire {

void Batch::Clear() {
  page_copies.clear();
  token_ids.clear();
  positions.clear();
  rotary_positions.clear();
  slot_mapping.clear();
  query_start.clear();
  context_lens.clear();
  block_indptr.clear();
  block_indices.clear();
  logit_rows.clear();
}

}  // namespace quire
