#include "engine/scheduler/fair_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/engine/scheduler/test_requests.h"

namespace quire {
namespace {

class FairQueueTest : public ::testing::Test {
 protected:
  Sequence& Add(uint64_t tenant, int num_tokens, double weight = 1) {
    requests_.push_back(MakeState(requests_.size() + 1, num_tokens));
    requests_.back()->tenant = {.id = tenant, .weight = weight};
    Sequence& sequence = *requests_.back()->sequences[0];
    queue_.Insert(sequence);
    return sequence;
  }
  int64_t Served(uint64_t tenant) { return queue_.Find(tenant)->served / FairQueue::kUnit; }

  void TearDown() override { queue_.CheckInvariants(); }

  FairQueue queue_{/*quantum=*/100};
  std::vector<std::unique_ptr<RequestState>> requests_;
};

TEST_F(FairQueueTest, ChargesPromptsOnceOutputsTwiceAndNothingAgain) {
  Sequence& sequence = Add(1, 10);
  queue_.Charge(sequence, 10);
  EXPECT_EQ(Served(1), 10);
  queue_.Charge(sequence, 13);
  EXPECT_EQ(Served(1), 10 + 2 * 3);
  queue_.Charge(sequence, 5);  // Preempted, and computed once more.
  queue_.Charge(sequence, 13);
  EXPECT_EQ(Served(1), 16);
}

TEST_F(FairQueueTest, ChargesByWeight) {
  Sequence& heavy = Add(1, 100, 4);
  Sequence& light = Add(2, 100, 0.5);
  queue_.Charge(heavy, 100);
  queue_.Charge(light, 100);
  EXPECT_EQ(Served(1), 25);
  EXPECT_EQ(Served(2), 200);
}

TEST_F(FairQueueTest, GivesAQuantumOfCreditForHavingBeenAway) {
  queue_.Charge(Add(1, 1000), 1000);
  Add(2, 10);
  EXPECT_NEAR(static_cast<double>(Served(2)), 1000 - 100, 2) << "of what the one that waits has had";
}

TEST_F(FairQueueTest, RemembersWhoHadMoreWhileThatTenantIsAway) {
  Sequence& hungry = Add(1, 1000);
  Add(2, 10);
  queue_.Charge(hungry, 1000);
  queue_.Remove(hungry);
  queue_.ForgetIdle();
  Add(1, 10);
  EXPECT_EQ(Served(1), 1000);
}

TEST_F(FairQueueTest, ForgetsThoseWhoAreAwayAndHadNoMoreThanOthers) {
  Sequence& modest = Add(1, 10);
  queue_.Charge(Add(2, 1000), 1000);
  queue_.Remove(modest);
  Sequence& other = Add(3, 10);
  queue_.ForgetIdle();
  EXPECT_EQ(queue_.Find(1), nullptr);
  EXPECT_NE(queue_.Find(2), nullptr);
  queue_.Remove(other);
}

TEST_F(FairQueueTest, CallsATenantOverServedBeyondAQuantumOnly) {
  Sequence& one = Add(1, 500);
  Add(2, 500);
  queue_.Charge(one, 100);
  EXPECT_FALSE(queue_.IsOverServed(*queue_.Find(1), *queue_.Find(2)));
  queue_.Charge(one, 101);
  EXPECT_TRUE(queue_.IsOverServed(*queue_.Find(1), *queue_.Find(2)));
  EXPECT_FALSE(queue_.IsOverServed(*queue_.Find(2), *queue_.Find(1)));
}

}  // namespace
}  // namespace quire
