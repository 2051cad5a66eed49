// ModelRunner: turns a Batch into tokens. The seam between scheduling and the model; the simulator puts a fake behind it.
#pragma once

#include <functional>
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

// Asked on the engine's thread, now and then while a step computes: whether to give it up.
using GivesWay = std::function<bool()>;

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // How many steps may be under way, launched and not awaited: 1, or 2 where a step may be launched ahead of the tokens
  // of the one before it. Steps run one after another in any case.
  virtual int max_steps_under_way() const { return 1; }
  // Starts a step. The batch must stay alive and unchanged until its Await returns. One that is launched ahead may name
  // tokens that the step before it chooses. Then all rows of both are sampled, each for a sequence of its own, without
  // penalties, constraints and alternatives, and the second copies no pages.
  // A step that computes before this returns is given up when `gives_way` (if there is one) says so: of what it was to
  // do only its page copies have been done then, and what lies in its slots is garbage.
  virtual void Launch(const Batch& batch, const GivesWay& gives_way) = 0;
  // Waits for the oldest step under way; one SampledToken for each of its batch.logit_rows, valid until the next Launch.
  // ABORTED: the step was given up. Any other error means that nothing it wrote may be relied upon, nor what a step
  // launched ahead of it writes.
  virtual absl::StatusOr<std::span<const SampledToken>> Await() = 0;

  // Pages between the pool and the host's memory, beside steps: see Ops, whose calls these are. A transfer out may be
  // started before a step's Launch and be awaited behind its Await, if the step does not write to its pages. One in
  // begins when all steps that have been launched are done.
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
