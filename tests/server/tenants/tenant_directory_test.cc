#include "server/tenants/tenant_directory.h"

#include <gtest/gtest.h>

#include "server/sha256.h"
#include "server/status_details.h"

namespace quire {
namespace {

TenantDirectory TwoTenants() {
  auto admin = std::make_shared<Tenant>();
  admin->name = "admin";
  auto guest = std::make_shared<Tenant>();
  guest->name = "guest";
  guest->admin = false;
  return TenantDirectory::RequiringKeys({{Sha256("a key"), admin}, {Sha256("old"), guest}, {Sha256("new"), guest}});
}

absl::StatusOr<std::string> NameOf(const TenantDirectory& directory, const Credentials& credentials) {
  const absl::StatusOr<TenantPtr> tenant = directory.Identify(credentials);
  if (!tenant.ok()) return tenant.status();
  return (*tenant)->name;
}

TEST(TenantDirectory, TakesEverybodyForOneTenantWithoutAFile) {
  EXPECT_EQ(*NameOf({}, {.authorization = "Bearer whatever", .api_key = "", .tenant = "x"}), "default");
  EXPECT_TRUE(TenantDirectory().Identify({}, Access::kEverybody).ok());
}

TEST(TenantDirectory, FindsTenantsByAnyOfTheirKeys) {
  const TenantDirectory directory = TwoTenants();
  EXPECT_EQ(*NameOf(directory, {.authorization = "Bearer a key", .api_key = "", .tenant = ""}), "admin");
  EXPECT_EQ(*NameOf(directory, {.authorization = "bearer old", .api_key = "", .tenant = ""}), "guest");
  EXPECT_EQ(*NameOf(directory, {.authorization = "Bearer new", .api_key = "", .tenant = "admin"}), "guest")
      << "headers do not matter";
}

TEST(TenantDirectory, TakesAKeyWithoutAScheme) {
  const TenantDirectory directory = TwoTenants();
  EXPECT_EQ(*NameOf(directory, {.authorization = "", .api_key = "new", .tenant = ""}), "guest");
  EXPECT_FALSE(NameOf(directory, {.authorization = "", .api_key = "newer", .tenant = ""}).ok());
}

TEST(TenantDirectory, RefusesEveryOtherCredential) {
  const TenantDirectory directory = TwoTenants();
  const std::string long_key = "Bearer " + std::string(100'000, 'x');
  for (const std::string_view bad :
       {"", "Bearer ", "Bearer newer", "Bearer ne", "Basic new", "new", "Bearer  new", long_key.c_str()}) {
    const absl::Status status = directory.Identify({.authorization = bad, .api_key = "", .tenant = ""}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << bad.substr(0, 40);
    EXPECT_EQ(ReasonOf(status), "INVALID_API_KEY");
  }
}

TEST(TenantDirectory, LetsOnlyAdministratorsNearWhatIsEverybodys) {
  const TenantDirectory directory = TwoTenants();
  const Credentials admin{.authorization = "Bearer a key", .api_key = "", .tenant = ""};
  const Credentials guest{.authorization = "Bearer new", .api_key = "", .tenant = ""};
  EXPECT_TRUE(directory.Identify(admin, Access::kEverybody).ok());
  EXPECT_EQ(directory.Identify(guest, Access::kEverybody).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST(TenantDirectory, BelievesAHeaderThatItIsToldToTrust) {
  const TenantDirectory directory = TenantDirectory::TrustingHeader("x-tenant");
  EXPECT_EQ(*NameOf(directory, {.authorization = "", .api_key = "", .tenant = "mail"}), "mail");
  EXPECT_EQ(*NameOf(directory, {}), "default");
  const absl::Status status = NameOf(directory, {.authorization = "", .api_key = "", .tenant = "two words"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(status), "x-tenant");
}

}  // namespace
}  // namespace quire
