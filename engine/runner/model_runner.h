// ModelRunner: turns a Batch into tokens. The seam between scheduling and the model; the simulator puts a fake behind it.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runner/batch.h"
#include "engine/types/step_output.h"

namespace quire {

// The answer to one LogitRow. An error is this row's alone, and the others stand: INTERNAL when its logits, or its hidden
// state, were not finite; what its constraint failed with.
struct SampledToken {
  absl::Status status;
  TokenId token = 0;
  float logprob = 0;
  std::vector<std::pair<TokenId, float>> top;  // Where log-probabilities were asked for, most likely first.
  std::vector<float> embedding;  // For LogitRow::embed: the hidden state after the final norm.
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Starts a step. The batch must stay alive and unchanged until Await returns. At most one step is in flight.
  virtual void Launch(const Batch& batch) = 0;
  // Waits for it; one SampledToken for each of batch.logit_rows, valid until the next Launch. An error means that nothing the
  // step wrote may be relied upon.
  virtual absl::StatusOr<std::span<const SampledToken>> Await() = 0;
};

}  // namespace quire
