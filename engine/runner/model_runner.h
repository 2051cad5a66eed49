// ModelRunner: turns a Batch into tokens. The seam between scheduling and the model; the simulator puts a fake behind it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runner/batch.h"
#include "engine/types/step_output.h"
#include "kernels/paged_kv.h"

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

  // Pages between the pool and the host's memory, beside steps: see Ops, whose calls these are. A transfer out may be
  // started before a step's Launch and be awaited behind its Await, if the step does not write to its pages.
  virtual absl::StatusOr<std::unique_ptr<HostPages>> AllocateHostPages(int /*num_pages*/) {
    return absl::UnimplementedError("this model keeps no pages beside the pool");
  }
  virtual absl::StatusOr<uint64_t> StartToHost(std::span<const PageTransfer> /*pages*/, HostPages& /*host*/) {
    return absl::UnimplementedError("this model keeps no pages beside the pool");
  }
  virtual absl::StatusOr<uint64_t> StartFromHost(std::span<const PageTransfer> /*pages*/, const HostPages& /*host*/) {
    return absl::UnimplementedError("this model keeps no pages beside the pool");
  }
  virtual absl::StatusOr<uint64_t> TransfersDone(uint64_t /*wait_for*/ = 0) { return 0; }
};

}  // namespace quire
