#include "engine/scheduler/scheduler.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/engine/scheduler/scheduler_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class SchedulerTest : public SchedulerFixture {
 protected:
  Sequence& Add(uint64_t ordinal, int num_tokens, int priority = 0) {
    return Enqueue(MakeState(ordinal, num_tokens, priority));
  }

  // Who computed how many tokens, by ordinal.
  std::map<uint64_t, int> Step() { return StepBy(&RequestState::ordinal); }
};

TEST_F(SchedulerTest, GivesALonePromptTheWholeBudget) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 32}, {.num_blocks = 64, .block_size = 8});
  Add(1, 70);
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 32)));
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 32)));
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 6)));
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 1)));
}

TEST_F(SchedulerTest, ServesDecodesFirstAndSharesTheRestAmongPrompts) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 33}, {.num_blocks = 64, .block_size = 8});
  Add(1, 1);
  Step();
  Add(2, 100);
  Add(3, 100);
  Add(4, 5);
  // Of 33: one for the decode; half of 32; of the other 16 half; and 5 of the 8 left. What is over goes to the first.
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 1), Pair(2, 19), Pair(3, 8), Pair(4, 5)));
}

TEST_F(SchedulerTest, EndsChunksAtPagesWhereAnotherCanUseTheRest) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 30}, {.num_blocks = 64, .block_size = 8});
  Add(1, 100);
  Add(2, 22);
  // Half of 30 is 15, of which 8 fill a page; the second then has all it needs.
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 8), Pair(2, 22)));
}

TEST_F(SchedulerTest, LetsNobodyOvertakeOneThatLacksRoom) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 64}, {.num_blocks = 8, .block_size = 8});
  Sequence& first = Add(1, 30);
  Step();
  Add(2, 40);
  Add(3, 8);
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 1)));
  EXPECT_EQ(scheduler_->waiting().size(), 2);
  scheduler_->Finish(first);
  EXPECT_THAT(Step(), ElementsAre(Pair(2, 40), Pair(3, 8)));
}

TEST_F(SchedulerTest, LeavesRoomForTheRunningToGrow) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 64}, {.num_blocks = 4, .block_size = 8});
  Add(1, 16);
  Step();
  Add(2, 16);
  Step();
  EXPECT_EQ(scheduler_->running().size(), 1u) << "the first takes its third page in this step";
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
}

TEST_F(SchedulerTest, LooksPastOneThatWaitsForAPrefix) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 8}, {.num_blocks = 64, .block_size = 8});
  Sequence& first = Add(1, 32);
  Step();
  Sequence& same = Add(2, 32);
  same.tokens = first.tokens;
  Add(3, 4);
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 4), Pair(3, 4))) << "the second keeps its place and waits";
  for (int i = 0; i < 4; ++i) Step();
  EXPECT_EQ(first.num_computed, 33);
  EXPECT_EQ(same.num_computed, 32);
  EXPECT_EQ(same.request->num_cached_tokens, 31) << "nothing of it but its last token was computed";
}

TEST_F(SchedulerTest, PreemptsTheLastOfTheLowestPriority) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 64}, {.num_blocks = 8, .block_size = 4});
  Sequence& late = Add(1, 7, 1);
  Sequence& low = Add(2, 7, 2);
  Sequence& high = Add(3, 7, 0);
  Step();
  ASSERT_EQ(scheduler_->running().size(), 3u);
  for (int i = 0; i < 2; ++i) Step();
  EXPECT_EQ(low.status, SequenceStatus::kWaiting);
  EXPECT_EQ(low.num_computed, 0);
  EXPECT_EQ(late.status, SequenceStatus::kRunning);
  EXPECT_EQ(high.status, SequenceStatus::kRunning);
  EXPECT_EQ(scheduler_->num_preemptions(), 1u);
}

TEST_F(SchedulerTest, GivesWayItselfWhenItIsTheLast) {
  Start({.max_num_seqs = 4, .max_num_batched_tokens = 64}, {.num_blocks = 4, .block_size = 4});
  Sequence& first = Add(1, 6);
  Sequence& second = Add(2, 1);
  Step();
  for (int i = 0; i < 4; ++i) Step();
  EXPECT_EQ(first.num_computed, 10);
  EXPECT_EQ(second.status, SequenceStatus::kWaiting) << "its second page is the first one's third";
  EXPECT_THAT(Step(), ElementsAre(Pair(1, 1)));
}

TEST_F(SchedulerTest, PreemptsForAHigherPriorityNoMoreThanItNeeds) {
  Start({.max_num_seqs = 8, .max_num_batched_tokens = 64}, {.num_blocks = 12, .block_size = 4});
  for (uint64_t ordinal : {1, 2, 3}) Add(ordinal, 6, 1);
  Sequence& last = Add(4, 6, 1);
  Step();
  ASSERT_EQ(scheduler_->running().size(), 4u);
  Sequence& urgent = Add(5, 10, 0);
  Step();
  EXPECT_EQ(urgent.status, SequenceStatus::kRunning);
  EXPECT_EQ(scheduler_->num_preemptions(), 1u);
  EXPECT_EQ(last.status, SequenceStatus::kWaiting);
}

TEST_F(SchedulerTest, PreemptsNobodyForOneThatWouldNotFitAnyway) {
  Start({.max_num_seqs = 8, .max_num_batched_tokens = 64}, {.num_blocks = 8, .block_size = 4});
  Add(1, 16, 0);
  Add(2, 7, 2);
  Step();
  ASSERT_EQ(scheduler_->running().size(), 2u);
  Add(3, 20, 1);
  Step();
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
}

}  // namespace
}  // namespace quire
