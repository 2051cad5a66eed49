#include "server/tenants/tenant_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/status_details.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kRelease = absl::Seconds(3);

Tenant Named(const std::string& name, TenantLimits limits = {}) { return {.name = name, .limits = limits}; }

TEST(TenantLedger, BoundsRequestsAtOnceAndSaysWhenThereWillBeRoom) {
  TenantLedger ledger(0);
  const Tenant tenant = Named("mail", {.max_concurrency = 2});
  EXPECT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  EXPECT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  const absl::Status status = ledger.Admit(tenant, kStart, kRelease);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 at most (max_concurrency)"));
  EXPECT_EQ(RetryDelayOf(status), kRelease);
  EXPECT_TRUE(ledger.Admit(Named("other"), kStart, kRelease).ok());
  ledger.RequestOver(tenant, {}, kStart);
  EXPECT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  ledger.Withdraw(tenant);
  EXPECT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
}

TEST(TenantLedger, TellsTheTrueWaitOfATenantThatHasUsedItsTokens) {
  TenantLedger ledger(0);
  const Tenant tenant = Named("mail", {.tokens_per_minute = 600});
  ASSERT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  ledger.RequestOver(tenant, {.prompt_tokens = 500, .cached_tokens = 100, .completion_tokens = 400}, kStart);
  const absl::Status status = ledger.Admit(tenant, kStart, kRelease);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "TOKENS_PER_MINUTE");
  const absl::Duration wait = *RetryDelayOf(status);
  EXPECT_GT(wait, absl::Seconds(30)) << "300 too many, of which ten a second are forgiven";
  EXPECT_LT(wait, absl::Seconds(31));
  EXPECT_FALSE(ledger.Admit(tenant, kStart + wait - absl::Seconds(1), kRelease).ok());
  EXPECT_TRUE(ledger.Admit(tenant, kStart + wait, kRelease).ok());
}

TEST(TenantLedger, IsNotConfusedByAClockThatIsSetBack) {
  TenantLedger ledger(0);
  const Tenant tenant = Named("mail", {.tokens_per_minute = 60});
  ASSERT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  ledger.RequestOver(tenant, {.prompt_tokens = 60}, kStart);
  EXPECT_FALSE(ledger.Admit(tenant, kStart - absl::Hours(1), kRelease).ok());
  EXPECT_TRUE(ledger.Admit(tenant, kStart - absl::Hours(1) + absl::Seconds(2), kRelease).ok());
}

TEST(TenantLedger, LeavesRoomForOthersHoweverManyRequestsATenantSends) {
  TenantLedger ledger(40);
  const auto flood = [&ledger](const std::string& name) {
    int taken = 0;
    while (taken < 1000 && ledger.Admit(Named(name), kStart, kRelease).ok()) ++taken;
    return taken;
  };
  EXPECT_EQ(flood("first"), 31) << "three times the room that is left, and one";
  EXPECT_GE(flood("second"), 6);
  EXPECT_GE(flood("third"), 1);
  EXPECT_TRUE(ledger.Admit(Named("quiet"), kStart, kRelease).ok());
}

TEST(TenantLedger, SumsUpWhatTenantsHad) {
  TenantLedger ledger(0);
  const Tenant tenant = Named("mail");
  ASSERT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  ASSERT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
  ledger.RequestOver(tenant, {.prompt_tokens = 5, .cached_tokens = 2, .completion_tokens = 3}, kStart);
  const std::vector<TenantUsage> usage = ledger.usage();
  ASSERT_EQ(usage.size(), 1u);
  EXPECT_EQ(usage[0].tenant, "mail");
  EXPECT_EQ(usage[0].requests_alive, 1);
  EXPECT_EQ(usage[0].requests_total, 1u);
  EXPECT_EQ(usage[0].prompt_tokens_total, 5u);
  EXPECT_EQ(usage[0].cached_tokens_total, 2u);
  EXPECT_EQ(usage[0].completion_tokens_total, 3u);
}

TEST(TenantLedger, RemembersABoundedNumberOfNames) {
  TenantLedger ledger(0);
  for (int i = 0; i < 5000; ++i) {
    const Tenant tenant = Named(std::to_string(i));
    ASSERT_TRUE(ledger.Admit(tenant, kStart, kRelease).ok());
    ledger.RequestOver(tenant, {.prompt_tokens = 1}, kStart);
  }
  EXPECT_LE(ledger.usage().size(), TenantLedger::kMaxNames + 1);
}

}  // namespace
}  // namespace quire
