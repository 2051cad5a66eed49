#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/scheduler/scheduler.h"
#include "tests/engine/scheduler/test_requests.h"

namespace quire {
namespace {

constexpr uint64_t kFlood = 1;
constexpr uint64_t kQuiet = 2;

// A scheduler whose steps always succeed; every sampled token is 7.
class SchedulerFairnessTest : public ::testing::Test {
 protected:
  void Start(const SchedulerOptions& options, const BlockManagerOptions& blocks) {
    blocks_ = std::make_unique<BlockManager>(blocks);
    scheduler_ = std::make_unique<Scheduler>(options, *blocks_);
  }

  Sequence& Add(uint64_t tenant, int num_tokens, int max_pages = 0) {
    const uint64_t ordinal = requests_.size() + 1;
    RequestState& request = *requests_.emplace_back(MakeState(ordinal, num_tokens));
    request.tenant = {.id = tenant, .max_pages = max_pages};
    request.cache_salt = tenant;
    scheduler_->Enqueue(*request.sequences[0]);
    return *request.sequences[0];
  }

  // Tokens computed, by tenant.
  std::map<uint64_t, int> Step() {
    std::map<uint64_t, int> shares;
    for (const ScheduledSequence& scheduled : scheduler_->Plan(absl::UnixEpoch()).sequences) {
      Sequence& sequence = *scheduled.sequence;
      shares[sequence.request->tenant.id] += scheduled.num_tokens;
      sequence.num_computed += scheduled.num_tokens;
      blocks_->Commit(sequence.table, sequence.tokens, sequence.num_computed);
      if (scheduled.num_sampled > 0) sequence.tokens.push_back(7);
    }
    blocks_->FinishCopies();
    scheduler_->CheckInvariants();
    return shares;
  }
  int StepsUntilRunning(const Sequence& sequence) {
    int steps = 0;
    while (sequence.status != SequenceStatus::kRunning && steps < 1000) {
      Step();
      ++steps;
    }
    return steps;
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

TEST_F(SchedulerFairnessTest, StartsAQuietTenantsRequestBeforeAFloodThatCameFirst) {
  Start({.max_num_seqs = 64, .max_num_batched_tokens = 64}, {.num_blocks = 256, .block_size = 8});
  for (int i = 0; i < 40; ++i) Add(kFlood, 64);
  for (int i = 0; i < 4; ++i) Step();
  Sequence& quiet = Add(kQuiet, 16);
  EXPECT_LE(StepsUntilRunning(quiet), Scheduler::kQuantumSteps + 1);
}

TEST_F(SchedulerFairnessTest, TakesSeatsAndPagesFromAFlood) {
  Start({.max_num_seqs = 8, .max_num_batched_tokens = 16}, {.num_blocks = 24, .block_size = 8});
  for (int i = 0; i < 20; ++i) Add(kFlood, 16);
  for (int i = 0; i < 20; ++i) Step();
  ASSERT_GE(scheduler_->running().size(), 4u);
  Sequence& quiet = Add(kQuiet, 80);
  EXPECT_EQ(StepsUntilRunning(quiet), 1);
  while (quiet.num_output_tokens() < 4) Step();
  EXPECT_EQ(quiet.num_preemptions, 0) << "the flood has had more all the time";
}

TEST_F(SchedulerFairnessTest, LeavesAPartOfStepsThatDecodesOfAFloodWouldFill) {
  Start({.max_num_seqs = 16, .max_num_batched_tokens = 16}, {.num_blocks = 256, .block_size = 8});
  for (int i = 0; i < 15; ++i) Add(kFlood, 1);
  for (int i = 0; i < 8; ++i) Step();
  Sequence& quiet = Add(kQuiet, 64);
  int steps = 0;
  for (; quiet.num_output_tokens() == 0; ++steps) Step();
  EXPECT_LE(steps, 24) << "alone 4, with what the decodes leave 64";
}

TEST_F(SchedulerFairnessTest, ServesTenantsThatWantEverythingEqually) {
  Start({.max_num_seqs = 8, .max_num_batched_tokens = 32}, {.num_blocks = 64, .block_size = 8});
  std::map<uint64_t, int> total;
  for (int i = 0; i < 30; ++i) Add(kFlood, 50);
  for (int i = 0; i < 30; ++i) Add(kQuiet, 50);
  for (int i = 0; i < 60; ++i) {
    for (const auto& [tenant, tokens] : Step()) total[tenant] += tokens;
    const std::vector<Sequence*> running = scheduler_->running();
    for (Sequence* sequence : running) {
      if (sequence->num_output_tokens() >= 6) scheduler_->Finish(*sequence);
    }
  }
  EXPECT_GT(total[kFlood], 300);
  EXPECT_NEAR(total[kFlood], total[kQuiet], 2 * Scheduler::kQuantumSteps * 32);
}

TEST_F(SchedulerFairnessTest, PrefersAPrefixOfATenantsOwnAmongEquals) {
  Start({.max_num_seqs = 2, .max_num_batched_tokens = 256}, {.num_blocks = 256, .block_size = 8});
  Sequence& first = Add(2, 64);
  Step();
  const std::vector<TokenId> prompt(first.tokens.begin(), first.tokens.begin() + 64);
  scheduler_->Finish(first);
  Sequence& cold = Add(1, 64);
  Sequence& warm = Add(2, 64);
  scheduler_->Finish(warm);  // To be queued anew with tokens that are cached.
  requests_.push_back(MakeState(9, 64));
  requests_.back()->tenant.id = requests_.back()->cache_salt = 2;
  Sequence& cached = *requests_.back()->sequences[0];
  cached.tokens = prompt;
  cached.tokens.push_back(9);
  scheduler_->Enqueue(cached);
  const Schedule& schedule = scheduler_->Plan(absl::UnixEpoch());
  EXPECT_EQ(schedule.num_tokens, 64 + 1);
  EXPECT_GE(cached.num_computed, 64) << "its own pages were found";
  EXPECT_EQ(cold.num_computed, 0) << "another tenant's were not looked at";
}

TEST_F(SchedulerFairnessTest, KeepsATenantToItsShareOfThePages) {
  Start({.max_num_seqs = 16, .max_num_batched_tokens = 64}, {.num_blocks = 64, .block_size = 8});
  for (int i = 0; i < 8; ++i) Add(kFlood, 16, /*max_pages=*/8);
  for (int i = 0; i < 40; ++i) {
    Step();
    size_t pages = 0;
    for (const Sequence* sequence : scheduler_->running()) pages += sequence->table.blocks.size();
    EXPECT_LE(pages, 8u);
    EXPECT_GE(scheduler_->running().size(), 1u);
    for (Sequence* sequence : std::vector<Sequence*>(scheduler_->running())) {
      if (sequence->num_output_tokens() >= 20) scheduler_->Finish(*sequence);
    }
  }
  Sequence& quiet = Add(kQuiet, 100);
  Step();
  EXPECT_EQ(quiet.status, SequenceStatus::kRunning) << "nobody waits behind a tenant that has all it may have";
}

TEST_F(SchedulerFairnessTest, PreemptsWhoHasLeastToComputeAgain) {
  Start({.max_num_seqs = 8, .max_num_batched_tokens = 64}, {.num_blocks = 10, .block_size = 4});
  Sequence& first = Add(kFlood, 8);
  Sequence& little = Add(kFlood, 1);
  Sequence& much = Add(kFlood, 13);
  while (scheduler_->num_preemptions() == 0) Step();
  EXPECT_EQ(little.status, SequenceStatus::kWaiting);
  EXPECT_EQ(much.status, SequenceStatus::kRunning);
  EXPECT_EQ(first.status, SequenceStatus::kRunning);
}

}  // namespace
}  // namespace quire
