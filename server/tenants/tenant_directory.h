// TenantDirectory: tells from what a request brings along whose it is.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tenants/tenant.h"

namespace quire {

// Views live as long as the request's headers. Empty where it has none.
struct Credentials {
  std::string_view authorization;
  std::string_view api_key;  // The key alone, where there is no authorization.
  std::string_view tenant;  // Of the header that trusted_header() names.
};

// What a call is about.
enum class Access {
  kOwn,       // The caller's own requests.
  kEverybody,  // What all tenants share: for administrators.
};

// Constant once made; any thread may call it.
class TenantDirectory {
 public:
  using Digest = std::array<uint8_t, 32>;
  struct Key {
    Digest sha256;
    TenantPtr tenant;
  };

  // Everybody is the one tenant "default", whatever they bring along.
  TenantDirectory() = default;
  // Requests are whose `header` says, in lower case; "default" without it. For servers that only a gateway can reach.
  static TenantDirectory TrustingHeader(std::string header);
  // Requests are whose key they bring as "Bearer KEY"; others are refused.
  static TenantDirectory RequiringKeys(std::vector<Key> keys);

  bool has_several() const { return requires_keys() || !trusted_header_.empty(); }
  bool requires_keys() const { return !keys_.empty(); }
  const std::string& trusted_header() const { return trusted_header_; }

  // UNAUTHENTICATED without a valid key where one is required, PERMISSION_DENIED where an administrator's is;
  // INVALID_ARGUMENT for a name in the trusted header that cannot be one.
  absl::StatusOr<TenantPtr> Identify(const Credentials& credentials, Access access = Access::kOwn) const;

 private:
  absl::StatusOr<TenantPtr> FindByKey(const Credentials& credentials) const;
  absl::StatusOr<TenantPtr> FindByName(std::string_view name) const;

  const TenantPtr default_ = std::make_shared<Tenant>();
  std::string trusted_header_;
  std::vector<Key> keys_;
};

// Whether `name` may be a tenant's: 1 to 64 letters, digits and any of "._:/@-", fit for logs and labels.
bool IsTenantName(std::string_view name);

}  // namespace quire
