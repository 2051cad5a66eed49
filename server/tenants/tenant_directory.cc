#include "server/tenants/tenant_directory.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"
#include "server/sha256.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxNameBytes = 64;
// A key longer than this is none, and is not worth digesting.
constexpr size_t kMaxKeyBytes = 4096;

constexpr std::string_view kScheme = "Bearer ";

absl::Status Unauthenticated(const std::string& problem) {
  return WithReason(absl::UnauthenticatedError(absl::StrCat(problem, "; send one as \"authorization: Bearer KEY\"")),
                    "INVALID_API_KEY");
}

}  // namespace

bool IsTenantName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || std::string_view("._:/@-").find(c) != std::string_view::npos;
  });
}

TenantDirectory TenantDirectory::TrustingHeader(std::string header) {
  TenantDirectory directory;
  directory.trusted_header_ = std::move(header);
  return directory;
}

TenantDirectory TenantDirectory::RequiringKeys(std::vector<Key> keys) {
  TenantDirectory directory;
  directory.keys_ = std::move(keys);
  return directory;
}

absl::StatusOr<TenantPtr> TenantDirectory::Identify(const Credentials& credentials, Access access) const {
  if (!requires_keys()) return trusted_header_.empty() ? default_ : FindByName(credentials.tenant);
  ASSIGN_OR_RETURN(TenantPtr tenant, FindByKey(credentials));
  if (access == Access::kEverybody && !tenant->admin) {
    return WithReason(
        absl::PermissionDeniedError(absl::StrCat("this is for administrators, and tenant ", tenant->name, " is none")),
        "NOT_AN_ADMINISTRATOR");
  }
  return tenant;
}

// Looks at all keys, and at all bytes of each, so that the time it takes tells nothing of how near a guess came.
absl::StatusOr<TenantPtr> TenantDirectory::FindByKey(const Credentials& credentials) const {
  std::string_view sent = credentials.api_key;
  if (sent.empty()) {
    const std::string_view authorization = credentials.authorization;
    if (authorization.empty()) return Unauthenticated("an API key is required");
    if (!absl::StartsWithIgnoreCase(AbslView(authorization), AbslView(kScheme))) {
      return Unauthenticated("the authorization is not an API key");
    }
    sent = authorization.substr(kScheme.size());
  }
  if (sent.size() > kMaxKeyBytes) return Unauthenticated("the authorization is not an API key");
  const Digest digest = Sha256(sent);
  const TenantPtr* found = nullptr;
  for (const Key& key : keys_) {
    if (CRYPTO_memcmp(key.sha256.data(), digest.data(), digest.size()) == 0) found = &key.tenant;
  }
  if (found == nullptr) return Unauthenticated("the API key is not known here");
  return *found;
}

absl::StatusOr<TenantPtr> TenantDirectory::FindByName(std::string_view name) const {
  if (name.empty() || name == default_->name) return default_;
  if (!IsTenantName(name)) {
    return InvalidField(trusted_header_, "must be 1 to 64 letters, digits and any of \"._:/@-\"");
  }
  auto tenant = std::make_shared<Tenant>();
  tenant->name = name;
  return tenant;
}

}  // namespace quire
