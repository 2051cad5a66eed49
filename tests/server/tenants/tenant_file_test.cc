#include "server/tenants/tenant_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/sha256.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& yaml) { return std::string(ParseTenants(yaml).status().message()); }

// A file with one tenant that has a key and these further lines.
std::string WithLines(const std::string& lines) {
  return absl::StrCat("tenants:\n  - name: search\n    keys: [", Sha256Hex("secret"), "]\n", lines);
}

TEST(TenantFile, ReadsEveryProperty) {
  const auto directory = ParseTenants(
      WithLines("    weight: 2.5\n    max_concurrency: 3\n    max_queued_tokens: 1000\n    tokens_per_minute: 60000\n"
                "    max_page_share: 0.25\n    max_sessions: 4\n    max_leases: 5\n    max_pinned_share: 0.125\n"
                "    min_priority: -2\n    admin: true\n"));
  ASSERT_TRUE(directory.ok()) << directory.status();
  const Credentials credentials{.authorization = "Bearer secret", .api_key = "", .tenant = ""};
  const auto tenant = directory->Identify(credentials, Access::kEverybody);
  ASSERT_TRUE(tenant.ok()) << tenant.status();
  EXPECT_EQ((*tenant)->name, "search");
  EXPECT_EQ((*tenant)->weight, 2.5);
  EXPECT_EQ((*tenant)->limits.max_concurrency, 3);
  EXPECT_EQ((*tenant)->limits.max_queued_tokens, 1000);
  EXPECT_EQ((*tenant)->limits.tokens_per_minute, 60000);
  EXPECT_EQ((*tenant)->limits.max_page_share, 0.25);
  EXPECT_EQ((*tenant)->limits.max_sessions, 4);
  EXPECT_EQ((*tenant)->limits.max_leases, 5);
  EXPECT_EQ((*tenant)->limits.max_pinned_share, 0.125);
  EXPECT_EQ((*tenant)->limits.min_priority, -2);
}

TEST(TenantFile, MakesNobodyAnAdministratorWhoIsNotCalledOne) {
  const auto directory = ParseTenants(WithLines(""));
  ASSERT_TRUE(directory.ok()) << directory.status();
  const auto status =
      directory->Identify({.authorization = "Bearer secret", .api_key = "", .tenant = ""}, Access::kEverybody).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
}

TEST(TenantFile, NamesWhatIsWrongAndNeverAKey) {
  EXPECT_THAT(ErrorOf(WithLines("    wieght: 2\n")), HasSubstr("tenants[0].wieght is not a tenant's property"));
  EXPECT_THAT(ErrorOf(WithLines("    weight: 0\n")), HasSubstr("tenants[0].weight must be in [0.001, 1000]"));
  EXPECT_THAT(ErrorOf(WithLines("    weight: .nan\n")), HasSubstr("tenants[0].weight must be in"));
  EXPECT_THAT(ErrorOf(WithLines("    max_pinned_share: 0\n")), HasSubstr("max_pinned_share must be in [0.001, 1]"));
  EXPECT_THAT(ErrorOf(WithLines("    max_sessions: 0\n")), HasSubstr("max_sessions must be in [1, "));
  EXPECT_THAT(ErrorOf(WithLines("    max_concurrency: many\n")), HasSubstr("max_concurrency must be a number"));
  EXPECT_THAT(ErrorOf(WithLines("    admin: perhaps\n")), HasSubstr("admin must be true or false"));
  EXPECT_THAT(ErrorOf(WithLines("    weight: 2\n    weight: 3\n")), HasSubstr("weight is there twice"));
  EXPECT_THAT(ErrorOf("tenants:\n  - name: a b\n    keys: []\n"), HasSubstr("tenants[0].name must be 1 to 64"));
  EXPECT_THAT(ErrorOf("tenants:\n  - name: a\n"), HasSubstr("tenants[0].keys must be set"));
  EXPECT_THAT(ErrorOf("tenants: []\n"), HasSubstr("must have 1 to"));
  EXPECT_THAT(ErrorOf("weights: []\n"), HasSubstr("must be one list"));
  EXPECT_THAT(ErrorOf("{"), HasSubstr("line"));
  const std::string in_clear = ErrorOf("tenants:\n  - name: a\n    keys: [my-secret-key]\n");
  EXPECT_THAT(in_clear, HasSubstr("sha256sum"));
  EXPECT_THAT(in_clear, Not(HasSubstr("my-secret-key")));
}

TEST(TenantFile, RefusesANameOrAKeyOfTwoTenants) {
  const std::string key = Sha256Hex("secret"), other = Sha256Hex("other");
  EXPECT_THAT(ErrorOf(absl::StrCat(WithLines(""), "  - name: search\n    keys: [", other, "]\n")),
              HasSubstr("tenants[1].name is another tenant's"));
  EXPECT_THAT(ErrorOf(absl::StrCat(WithLines(""), "  - name: mail\n    keys: [", key, "]\n")),
              HasSubstr("tenants[1].keys has one that is there already"));
}

TEST(TenantFile, SaysWhichFileCannotBeRead) {
  const absl::Status status = LoadTenants("/nowhere/tenants.yaml").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere/tenants.yaml"));
}

}  // namespace
}  // namespace quire
