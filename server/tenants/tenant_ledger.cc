#include "server/tenants/tenant_ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "server/status_details.h"

namespace quire {
namespace {

absl::Status Exhausted(const Tenant& tenant, const std::string& problem, const char* reason, absl::Duration delay) {
  const absl::Status status = absl::ResourceExhaustedError(absl::StrCat("tenant ", tenant.name, " ", problem));
  return WithRetryDelay(WithReason(status, reason), delay);
}

double TokensPerSecond(const Tenant& tenant) { return static_cast<double>(tenant.limits.tokens_per_minute) / 60; }

}  // namespace

TenantLedger::Account& TenantLedger::AccountOf(const Tenant& tenant) {
  const auto found = accounts_.find(tenant.name);
  if (found != accounts_.end()) return found->second;
  const std::string name = accounts_.size() < kMaxNames ? tenant.name : kOther;
  Account& account = accounts_[name];
  account.usage.tenant = name;
  return account;
}

void TenantLedger::Refill(const Tenant& tenant, Account& account, absl::Time now) {
  // A clock may be set back; then nothing is refilled, and nothing is taken away.
  const absl::Duration passed = std::max(now - account.refilled, absl::ZeroDuration());
  account.debt = std::max(0.0, account.debt - absl::ToDoubleSeconds(passed) * TokensPerSecond(tenant));
  account.refilled = now;
}

absl::Status TenantLedger::Admit(const Tenant& tenant, absl::Time now, absl::Duration release_delay) {
  const std::lock_guard lock(mutex_);
  Account& account = AccountOf(tenant);
  const TenantLimits& limits = tenant.limits;
  if (limits.max_concurrency > 0 && account.usage.requests_alive >= limits.max_concurrency) {
    ++account.usage.refused_total;
    return Exhausted(tenant,
                     absl::StrCat("has ", account.usage.requests_alive, " requests running or waiting, of ",
                                  limits.max_concurrency, " at most (max_concurrency)"),
                     "MAX_CONCURRENCY", release_delay);
  }
  const int64_t room = max_requests_ - requests_alive_;
  if (max_requests_ > 0 && account.usage.requests_alive > kMaxShareOfRoom * room) {
    ++account.usage.refused_total;
    return Exhausted(
        tenant,
        absl::StrCat("has ", account.usage.requests_alive, " requests running or waiting, and the room for ", room,
                     " more is for others; try again later"),
        "TOO_MANY_REQUESTS", release_delay);
  }
  if (limits.tokens_per_minute > 0) {
    Refill(tenant, account, now);
    const double lacking = account.debt - static_cast<double>(limits.tokens_per_minute);
    if (lacking >= 0) {
      ++account.usage.refused_total;
      return Exhausted(tenant, absl::StrCat("has used its ", limits.tokens_per_minute, " tokens_per_minute"),
                       "TOKENS_PER_MINUTE", absl::Seconds((lacking + 1) / TokensPerSecond(tenant)));
    }
  }
  ++account.usage.requests_alive;
  ++requests_alive_;
  return absl::OkStatus();
}

void TenantLedger::RequestOver(const Tenant& tenant, const Usage& usage, absl::Time now) {
  const std::lock_guard lock(mutex_);
  Account& account = AccountOf(tenant);
  TenantUsage& sum = account.usage;
  QUIRE_CHECK(sum.requests_alive > 0);
  --sum.requests_alive;
  --requests_alive_;
  ++sum.requests_total;
  sum.prompt_tokens_total += static_cast<uint64_t>(usage.prompt_tokens);
  sum.cached_tokens_total += static_cast<uint64_t>(usage.cached_tokens);
  sum.completion_tokens_total += static_cast<uint64_t>(usage.completion_tokens);
  if (tenant.limits.tokens_per_minute == 0) return;
  Refill(tenant, account, now);
  account.debt += usage.prompt_tokens + usage.completion_tokens;
}

void TenantLedger::Withdraw(const Tenant& tenant) {
  const std::lock_guard lock(mutex_);
  Account& account = AccountOf(tenant);
  QUIRE_CHECK(account.usage.requests_alive > 0);
  --account.usage.requests_alive;
  --requests_alive_;
}

std::vector<TenantUsage> TenantLedger::usage() const {
  const std::lock_guard lock(mutex_);
  std::vector<TenantUsage> usage;
  for (const auto& [name, account] : accounts_) usage.push_back(account.usage);
  return usage;
}

}  // namespace quire
