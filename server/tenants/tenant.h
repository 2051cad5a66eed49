// Tenant: on whose behalf requests come, and what share of the server they may have.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

namespace quire {

// 0: no bound, where nothing else is said.
struct TenantLimits {
  int max_concurrency = 0;        // Requests that are not over, at once.
  int max_queued_tokens = 0;      // Of prompts that wait for the engine.
  int64_t tokens_per_minute = 0;  // Of prompts and answers.
  double max_page_share = 1;      // Of the KV pool, in (0, 1].
  int max_sessions = 0;           // Open at once.
  int max_leases = 0;             // On prefixes; a session has one, and takes the next one before it ends that.
  double max_pinned_share = 1;    // Of the KV pool, that its pinned leases may hold, in (0, 1].
  int min_priority = std::numeric_limits<int>::min();  // The most urgent that its requests may be; smaller goes first.
};

struct Tenant {
  std::string name = "default";
  double weight = 1;  // Of its share, where several want more than there is.
  TenantLimits limits;
  bool admin = true;  // May see and change what is everybody's.
};

// Constant, and shared by all requests of the tenant that are alive.
using TenantPtr = std::shared_ptr<const Tenant>;

}  // namespace quire
