// TenantLedger: what each tenant has had and may still have: requests alive, tokens a minute, and sums for statistics.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/types/step_output.h"
#include "server/tenants/tenant.h"

namespace quire {

struct TenantUsage {
  std::string tenant;
  int64_t requests_alive = 0;
  uint64_t requests_total = 0;  // That are over.
  uint64_t refused_total = 0;   // For a limit of the tenant's.
  uint64_t prompt_tokens_total = 0;
  uint64_t cached_tokens_total = 0;
  uint64_t completion_tokens_total = 0;
};

// Thread-safe; no call blocks for long. It remembers kMaxNames tenants. Where names come from a header there may be
// more: those share one account, "other", and have no limits, which only tenants of a file have.
//
// Tokens are paid for when a request ends, from a bucket that holds a minute's worth and may be overdrawn by what was
// running; nothing more is taken on until the debt has been refilled.
class TenantLedger {
 public:
  static constexpr size_t kMaxNames = 1024;
  static constexpr char kOther[] = "other";
  // Of several tenants, one may have this many times the requests that there is still room for: a flood leaves room for
  // the next tenant, however many floods there are.
  static constexpr int kMaxShareOfRoom = 3;

  // `max_requests`: of all tenants, where there may be several; 0: there is one.
  explicit TenantLedger(int max_requests) : max_requests_(max_requests) {}

  // Takes a request on, or says which limit stands against it: RESOURCE_EXHAUSTED with the time after which there is
  // room (RetryInfo). `release_delay`: how long until some request ends, as far as anybody knows.
  absl::Status Admit(const Tenant& tenant, absl::Time now, absl::Duration release_delay);
  // Ends one that was taken on.
  void RequestOver(const Tenant& tenant, const Usage& usage, absl::Time now);
  // Undoes Admit: others had no room for it.
  void Withdraw(const Tenant& tenant);

  // By name.
  std::vector<TenantUsage> usage() const;

 private:
  struct Account {
    TenantUsage usage;
    double debt = 0;  // Tokens that are missing in the bucket, as of `refilled`.
    absl::Time refilled = absl::InfinitePast();
  };

  Account& AccountOf(const Tenant& tenant);
  static void Refill(const Tenant& tenant, Account& account, absl::Time now);

  const int max_requests_;
  mutable std::mutex mutex_;
  int64_t requests_alive_ = 0;
  std::map<std::string, Account> accounts_;
};

}  // namespace quire
