#include "server/sessions/session_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/status_details.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
constexpr uint64_t kOwner = 7;

class SessionStoreTest : public ::testing::Test {
 protected:
  SessionStoreTest()
      : store_({.max_sessions = 3, .path = ""}, [this](uint64_t owner, LeaseId lease) {
          EXPECT_EQ(owner, kOwner);
          ended_.push_back(lease);
        }) {}

  std::string Open() { return store_.Open(kOwner, {absl::Minutes(10), {}}, nullptr, kNow)->id; }
  // A request that adds these tokens, and takes a lease.
  void Say(const std::string& id, std::vector<TokenId> tokens, LeaseId lease) {
    const absl::StatusOr<SessionTurn> turn = store_.BeginTurn(kOwner, id, kNow);
    ASSERT_TRUE(turn.ok()) << turn.status();
    store_.EndTurn(*turn, std::move(tokens), {"user", "assistant"}, Lease{lease, {.owner = kOwner}}, kNow);
  }
  std::vector<TokenId> Tokens(const std::string& id) { return store_.Export(kOwner, id, kNow)->first; }

  std::vector<LeaseId> ended_;
  SessionStore store_;
};

TEST_F(SessionStoreTest, HistoriesGrowByWhatRequestsAdd) {
  const std::string id = Open();
  Say(id, {1, 2}, 5);
  Say(id, {3}, 6);
  EXPECT_THAT(Tokens(id), ElementsAre(1, 2, 3));
  EXPECT_THAT(ended_, ElementsAre(5));
  EXPECT_THAT(store_.Export(kOwner, id, kNow)->second, ElementsAre("user", "assistant", "user", "assistant"));
}

TEST_F(SessionStoreTest, RequestsThatFailLeaveASessionAsItWas) {
  const std::string id = Open();
  Say(id, {1, 2}, 5);
  const absl::StatusOr<SessionTurn> turn = store_.BeginTurn(kOwner, id, kNow);
  EXPECT_EQ(store_.EndTurn(*turn, {}, {}, std::nullopt, kNow), 2);
  EXPECT_THAT(Tokens(id), ElementsAre(1, 2));
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(SessionStoreTest, OneRequestRunsAtATime) {
  const std::string id = Open();
  const absl::StatusOr<SessionTurn> turn = store_.BeginTurn(kOwner, id, kNow);
  const absl::Status second = store_.BeginTurn(kOwner, id, kNow).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(second), "SESSION_BUSY");
  store_.EndTurn(*turn, {1}, {}, std::nullopt, kNow);
  EXPECT_TRUE(store_.BeginTurn(kOwner, id, kNow).ok());
}

TEST_F(SessionStoreTest, ForksShareALeaseThatEndsWithTheLastOfThem) {
  const std::string id = Open();
  Say(id, {1, 2}, 5);
  const std::string fork = store_.Fork(kOwner, id, kNow)->id;
  Say(id, {3}, 6);
  EXPECT_THAT(Tokens(fork), ElementsAre(1, 2));
  EXPECT_THAT(ended_, IsEmpty());
  EXPECT_TRUE(store_.Close(kOwner, fork, kNow).ok());
  EXPECT_THAT(ended_, ElementsAre(5));
}

TEST_F(SessionStoreTest, AnOwnerHasNoMoreThanItMay) {
  SessionTerms terms{absl::Minutes(10), {}};
  terms.max_of_owner = 1;
  const std::string first = store_.Open(kOwner, terms, nullptr, kNow)->id;
  for (const absl::Status& refused :
       {store_.Open(kOwner, terms, nullptr, kNow).status(), store_.Fork(kOwner, first, kNow).status()}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(refused), "MAX_SESSIONS");
    EXPECT_THAT(std::string(refused.message()), HasSubstr("max_sessions"));
  }
  EXPECT_TRUE(store_.Open(kOwner + 1, terms, nullptr, kNow).ok());
  EXPECT_TRUE(store_.Close(kOwner, first, kNow).ok());
  EXPECT_TRUE(store_.Open(kOwner, terms, nullptr, kNow).ok());
}

TEST_F(SessionStoreTest, NobodySeesAnothersSessions) {
  const std::string id = Open();
  EXPECT_TRUE(absl::IsNotFound(store_.BeginTurn(kOwner + 1, id, kNow).status()));
  EXPECT_TRUE(absl::IsNotFound(store_.Fork(kOwner + 1, id, kNow).status()));
  EXPECT_TRUE(absl::IsNotFound(store_.Close(kOwner + 1, id, kNow)));
  EXPECT_TRUE(absl::IsNotFound(store_.Export(kOwner + 1, id, kNow).status()));
  EXPECT_THAT(store_.List(kOwner + 1, kNow), IsEmpty());
  EXPECT_EQ(store_.List(kOwner, kNow).size(), 1u);
}

TEST_F(SessionStoreTest, IdleOnesEndAndBusyOnesDoNot) {
  const std::string idle = Open(), busy = Open();
  Say(idle, {1}, 5);
  const absl::StatusOr<SessionTurn> turn = store_.BeginTurn(kOwner, busy, kNow);
  EXPECT_EQ(store_.size(kNow + absl::Minutes(9)), 2);
  EXPECT_EQ(store_.size(kNow + absl::Minutes(10)), 1);
  EXPECT_THAT(ended_, ElementsAre(5));
  store_.EndTurn(*turn, {1}, {}, std::nullopt, kNow + absl::Minutes(15));
  EXPECT_EQ(store_.size(kNow + absl::Minutes(24)), 1);
  EXPECT_EQ(store_.size(kNow + absl::Minutes(25)), 0);
}

TEST_F(SessionStoreTest, ThereAreNoMoreThanTheBound) {
  for (int i = 0; i < 3; ++i) Open();
  EXPECT_TRUE(absl::IsResourceExhausted(store_.Open(kOwner, {absl::Minutes(1), {}}, nullptr, kNow).status()));
}

TEST_F(SessionStoreTest, ARequestThatOutlivesItsSessionGivesItsLeaseBack) {
  const std::string id = Open();
  const absl::StatusOr<SessionTurn> turn = store_.BeginTurn(kOwner, id, kNow);
  EXPECT_TRUE(store_.Close(kOwner, id, kNow).ok());
  store_.EndTurn(*turn, {1}, {}, Lease{9, {.owner = kOwner}}, kNow);
  EXPECT_THAT(ended_, ElementsAre(9));
  EXPECT_EQ(store_.size(kNow), 0);
}

TEST(SessionHistory, IsGivenUpOnABoundedStack) {
  SessionHistoryPtr history;
  for (int i = 0; i < 1'000'000; ++i) {
    history = std::make_shared<const SessionHistory>(std::move(history), std::vector<TokenId>{i}, std::vector<std::string>());
  }
  EXPECT_EQ(TokensOf(history).size(), 1'000'000u);
  EXPECT_EQ(TokensOf(history)[999'999], 999'999);
  history.reset();
}

}  // namespace
}  // namespace quire
