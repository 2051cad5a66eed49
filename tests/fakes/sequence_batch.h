// Batches built by hand: a sequence's tokens on consecutive pages.
#pragma once

#include <span>

#include "engine/runner/batch.h"

namespace quire {

// Adds to `batch` tokens [num_computed, num_computed + num_new) of a sequence that lies on pages first_page, first_page
// + 1, ...
void AddSequence(std::span<const TokenId> tokens, int num_computed, int num_new, int first_page, int page_size,
                 Batch& batch);

}  // namespace quire
