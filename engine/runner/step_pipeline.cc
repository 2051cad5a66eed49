#include "engine/runner/step_pipeline.h"

#include <algorithm>
#include <iterator>

#include "engine/runner/batch_builder.h"
#include "kernels/check.h"

namespace quire {

StepPipeline::StepPipeline(ModelRunner& runner, int depth)
    : runner_(runner), max_size_(std::min(depth, runner.max_steps_under_way())) {
  QUIRE_CHECK(max_size_ >= 1 && max_size_ <= static_cast<int>(steps_.size()));
}

StepPipeline::~StepPipeline() {
  for (; !empty(); Remove()) {
    if (steps_[oldest_].launched) (void)Await();  // Nobody asks any more.
  }
}

void StepPipeline::Add(const BlockManager& blocks) {
  QUIRE_CHECK(has_room());
  Step& step = steps_[(oldest_ + size_) % steps_.size()];
  step.ahead = size_++ > 0;
  BuildBatch(step.schedule, blocks, step.batch);
}

void StepPipeline::Launch(const GivesWay& gives_way) {
  for (int i = 0; i < size_; ++i) {
    Step& step = steps_[(oldest_ + i) % steps_.size()];
    if (!step.launched) runner_.Launch(step.batch, size_ == 1 ? gives_way : nullptr);
    step.launched = true;
  }
}

absl::StatusOr<std::span<const SampledToken>> StepPipeline::Await() {
  auto results = runner_.Await();
  QUIRE_CHECK(!results.ok() || results->size() == steps_[oldest_].batch.logit_rows.size());
  return results;
}

void StepPipeline::Remove() {
  QUIRE_CHECK(!empty());
  Step& step = steps_[oldest_];
  step.launched = false;
  step.kept.clear();
  oldest_ = (oldest_ + 1) % static_cast<int>(steps_.size());
  --size_;
}

void StepPipeline::Keep(std::vector<std::unique_ptr<RequestState>>& ended) {
  if (!empty()) {
    std::vector<std::unique_ptr<RequestState>>& kept = steps_[(oldest_ + size_ - 1) % steps_.size()].kept;
    kept.insert(kept.end(), std::move_iterator(ended.begin()), std::move_iterator(ended.end()));
  }
  ended.clear();
}

}  // namespace quire
