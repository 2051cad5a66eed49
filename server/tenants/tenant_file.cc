#include "server/tenants/tenant_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/types/annotate.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

constexpr size_t kMaxTenants = 1024;
constexpr size_t kMaxKeysPerTenant = 16;
constexpr double kMinWeight = 0.001, kMaxWeight = 1000;
constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr int kMaxInt = std::numeric_limits<int>::max();

absl::Status Invalid(std::string_view field, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(AbslView(field), " ", AbslView(problem)));
}

template <typename T>
absl::StatusOr<T> Scalar(const YAML::Node& node, const std::string& field, const char* kind) {
  T value;
  if (!node.IsScalar() || !YAML::convert<T>::decode(node, value)) return Invalid(field, absl::StrCat("must be ", kind));
  return value;
}

template <typename T>
absl::Status ReadNumber(const YAML::Node& node, const std::string& field, T least, T most, T& to) {
  ASSIGN_OR_RETURN(to, Scalar<T>(node, field, "a number"));
  if (to >= least && to <= most) return absl::OkStatus();
  return Invalid(field, absl::StrCat("must be in [", least, ", ", most, "]"));
}

absl::Status ReadKeys(const YAML::Node& node, const std::string& field, std::vector<TenantDirectory::Digest>& keys) {
  if (!node.IsSequence() || node.size() == 0 || node.size() > kMaxKeysPerTenant) {
    return Invalid(field, absl::StrCat("must be a list of 1 to ", kMaxKeysPerTenant, " SHA-256 digests of keys"));
  }
  for (const YAML::Node& item : node) {
    ASSIGN_OR_RETURN(const std::string hex, Scalar<std::string>(item, field, "a list of strings"));
    const bool is_hex = hex.size() == 64 && std::all_of(hex.begin(), hex.end(), [](char c) {
                          return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                        });
    // Whoever put the key itself there should not find it in a log.
    if (!is_hex) return Invalid(field, "must have 64 hexadecimal digits each: printf %s KEY | sha256sum");
    const std::string bytes = absl::HexStringToBytes(hex);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(keys.emplace_back().data()));
  }
  return absl::OkStatus();
}

struct Entry {
  Tenant tenant;
  std::vector<TenantDirectory::Digest> keys;
};

absl::Status ReadField(const std::string& name, const YAML::Node& node, const std::string& field, Entry& entry) {
  Tenant& tenant = entry.tenant;
  TenantLimits& limits = tenant.limits;
  if (name == "keys") return ReadKeys(node, field, entry.keys);
  if (name == "weight") return ReadNumber(node, field, kMinWeight, kMaxWeight, tenant.weight);
  if (name == "max_concurrency") return ReadNumber(node, field, 1, kMaxInt, limits.max_concurrency);
  if (name == "max_queued_tokens") return ReadNumber(node, field, 1, kMaxInt, limits.max_queued_tokens);
  if (name == "tokens_per_minute") return ReadNumber<int64_t>(node, field, 1, kMaxCount, limits.tokens_per_minute);
  if (name == "max_page_share") return ReadNumber(node, field, 0.001, 1.0, limits.max_page_share);
  if (name == "max_sessions") return ReadNumber(node, field, 1, kMaxInt, limits.max_sessions);
  if (name == "max_leases") return ReadNumber(node, field, 1, kMaxInt, limits.max_leases);
  if (name == "max_pinned_share") return ReadNumber(node, field, 0.001, 1.0, limits.max_pinned_share);
  if (name == "min_priority") {
    return ReadNumber(node, field, std::numeric_limits<int>::min(), kMaxInt, limits.min_priority);
  }
  if (name == "name") {
    ASSIGN_OR_RETURN(tenant.name, Scalar<std::string>(node, field, "a string"));
    if (IsTenantName(tenant.name)) return absl::OkStatus();
    return Invalid(field, "must be 1 to 64 letters, digits and any of \"._:/@-\"");
  }
  if (name == "admin") {
    ASSIGN_OR_RETURN(tenant.admin, Scalar<bool>(node, field, "true or false"));
    return absl::OkStatus();
  }
  return Invalid(field, "is not a tenant's property");
}

absl::StatusOr<Entry> ReadEntry(const YAML::Node& node, const std::string& place) {
  if (!node.IsMap()) return Invalid(place, "must be a map");
  Entry entry;
  entry.tenant.name.clear();
  entry.tenant.admin = false;
  std::set<std::string> seen;
  for (const auto& item : node) {
    ASSIGN_OR_RETURN(const std::string name, Scalar<std::string>(item.first, place, "a map with names as keys"));
    const std::string field = absl::StrCat(place, ".", name);
    if (!seen.insert(name).second) return Invalid(field, "is there twice");
    RETURN_IF_ERROR(ReadField(name, item.second, field, entry));
  }
  if (entry.tenant.name.empty()) return Invalid(absl::StrCat(place, ".name"), "must be set");
  if (entry.keys.empty()) return Invalid(absl::StrCat(place, ".keys"), "must be set");
  return entry;
}

absl::StatusOr<TenantDirectory> Read(const YAML::Node& root) {
  if (!root.IsMap() || root.size() != 1 || !root["tenants"] || !root["tenants"].IsSequence()) {
    return absl::InvalidArgumentError("must be one list, \"tenants:\"");
  }
  const YAML::Node list = root["tenants"];
  if (list.size() == 0 || list.size() > kMaxTenants) {
    return Invalid("tenants", absl::StrCat("must have 1 to ", kMaxTenants, " entries"));
  }
  std::vector<TenantDirectory::Key> keys;
  std::set<std::string> names;
  std::set<TenantDirectory::Digest> digests;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = absl::StrCat("tenants[", i, "]");
    ASSIGN_OR_RETURN(Entry entry, ReadEntry(list[i], place));
    if (!names.insert(entry.tenant.name).second) return Invalid(absl::StrCat(place, ".name"), "is another tenant's");
    const auto tenant = std::make_shared<const Tenant>(std::move(entry.tenant));
    for (const TenantDirectory::Digest& digest : entry.keys) {
      if (!digests.insert(digest).second) return Invalid(absl::StrCat(place, ".keys"), "has one that is there already");
      keys.push_back({digest, tenant});
    }
  }
  return TenantDirectory::RequiringKeys(std::move(keys));
}

}  // namespace

absl::StatusOr<TenantDirectory> ParseTenants(const std::string& yaml) {
  try {
    return Read(YAML::Load(yaml));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

absl::StatusOr<TenantDirectory> LoadTenants(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  absl::StatusOr<TenantDirectory> directory = ParseTenants(text.str());
  if (!directory.ok()) return Annotate(directory.status(), path);
  return directory;
}

}  // namespace quire
