// Turns the plan of a step into the ragged arrays that the model reads.
#pragma once

#include "block_manager/block_manager.h"
#include "engine/runner/batch.h"
#include "engine/scheduler/schedule.h"

namespace quire {

// Fills `batch`, replacing what it held. Its logit rows come sequence by sequence, as many as num_logit_rows() of each,
// first the scored ones; they point into the sequences, which must not change until the step is over.
void BuildBatch(const Schedule& schedule, const BlockManager& blocks, Batch& batch);

}  // namespace quire
