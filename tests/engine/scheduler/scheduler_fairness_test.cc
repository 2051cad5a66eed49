// What the scheduler does where several tenants want more than there is.
#include <algorithm>
#include <map>

#include "tests/engine/scheduler/scheduler_fixture.h"

namespace quire {
namespace {

constexpr uint64_t kFlood = 1;
constexpr uint64_t kQuiet = 2;

class SchedulerFairnessTest : public SchedulerFixture {
 protected:
  Sequence& Add(uint64_t tenant, int num_tokens, int max_pages = 0) {
    return Enqueue(MakeStateOf({.id = tenant, .max_pages = max_pages}, num_tokens));
  }
  std::unique_ptr<RequestState> MakeStateOf(const TenantShare& tenant, int num_tokens) {
    auto request = MakeState(requests_.size() + 1, num_tokens);
    request->tenant = tenant;
    request->cache_salt = tenant.id;
    return request;
  }

  // Tokens computed, by tenant.
  std::map<uint64_t, int> Step() {
    return StepBy([](const RequestState& request) { return request.tenant.id; });
  }
  int StepsUntilRunning(const Sequence& sequence) {
    int steps = 0;
    while (sequence.status != SequenceStatus::kRunning && steps < 1000) {
      Step();
      ++steps;
    }
    return steps;
  }
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
  auto request = MakeStateOf({.id = 2}, 65);
  std::ranges::copy(prompt, request->sequences[0]->tokens.begin());
  const Sequence& cached = Enqueue(std::move(request));
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
