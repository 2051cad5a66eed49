// StepPipeline: the steps that are planned and not committed yet, one after another: the one that the model is at, and
// perhaps one launched ahead behind it.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "block_manager/block_manager.h"
#include "engine/runner/batch.h"
#include "engine/runner/model_runner.h"
#include "engine/scheduler/schedule.h"
#include "engine/types/sequence.h"

namespace quire {

// On the engine's thread. Keeps its memory: steady steps allocate nothing.
class StepPipeline {
 public:
  // `runner` outlives the pipeline. As many steps as `depth`, and the runner, allow.
  StepPipeline(ModelRunner& runner, int depth);
  // Waits for those that have been launched.
  ~StepPipeline();
  StepPipeline(const StepPipeline&) = delete;
  StepPipeline& operator=(const StepPipeline&) = delete;

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool has_room() const { return size_ < max_size_; }
  // REQUIRES: !empty().
  const Schedule& schedule() const { return steps_[oldest_].schedule; }  // Of the oldest step.
  bool was_ahead() const { return steps_[oldest_].ahead; }  // Whether it was added behind another.

  // To be filled in before Add. REQUIRES: has_room().
  Schedule& next_schedule() { return steps_[(oldest_ + size_) % steps_.size()].schedule; }
  // Makes it the newest step.
  void Add(const BlockManager& blocks);
  // Launches what was added since the last time. A step that is alone may give way; see ModelRunner.
  void Launch(const GivesWay& gives_way);
  // Waits for the oldest step; see ModelRunner. REQUIRES: it has been launched.
  absl::StatusOr<std::span<const SampledToken>> Await();
  // The oldest step is over.
  void Remove();
  // These have ended, and live on until the newest step is over, which may point to them. Empties `ended`.
  void Keep(std::vector<std::unique_ptr<RequestState>>& ended);

 private:
  struct Step {
    Schedule schedule;
    Batch batch;
    bool ahead = false;
    bool launched = false;
    std::vector<std::unique_ptr<RequestState>> kept;
  };

  ModelRunner& runner_;
  const int max_size_;
  std::array<Step, 2> steps_;
  int oldest_ = 0;
  int size_ = 0;
};

}  // namespace quire
