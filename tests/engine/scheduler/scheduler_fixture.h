// A scheduler over a pool of its own, whose steps always succeed; every sampled token is 7.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "tests/engine/scheduler/test_requests.h"

namespace quire {

class SchedulerFixture : public ::testing::Test {
 protected:
  void Start(const SchedulerOptions& options, const BlockManagerOptions& blocks) {
    blocks_ = std::make_unique<BlockManager>(blocks);
    scheduler_ = std::make_unique<Scheduler>(options, *blocks_);
  }

  Sequence& Enqueue(std::unique_ptr<RequestState> request) {
    Sequence& sequence = *requests_.emplace_back(std::move(request))->sequences[0];
    scheduler_->Enqueue(sequence);
    return sequence;
  }

  // How many tokens were computed in a step, by what `key` says of their request.
  template <typename Key>
  std::map<uint64_t, int> StepBy(Key key) {
    std::map<uint64_t, int> shares;
    for (const ScheduledSequence& scheduled : scheduler_->Plan(absl::UnixEpoch()).sequences) {
      Sequence& sequence = *scheduled.sequence;
      shares[std::invoke(key, *sequence.request)] += scheduled.num_tokens;
      sequence.num_computed += scheduled.num_tokens;
      blocks_->Commit(sequence.table, sequence.tokens, sequence.num_computed);
      if (scheduled.num_sampled > 0) sequence.tokens.push_back(7);
    }
    blocks_->FinishCopies();
    scheduler_->CheckInvariants();
    return shares;
  }

  void TearDown() override {
    for (auto& request : requests_) {
      for (auto& sequence : request->sequences) {
        if (sequence->status != SequenceStatus::kFinished) scheduler_->Finish(*sequence);
      }
    }
    EXPECT_EQ(blocks_->counts().used, 0);
  }

  std::unique_ptr<BlockManager> blocks_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<RequestState>> requests_;
};

}  // namespace quire
