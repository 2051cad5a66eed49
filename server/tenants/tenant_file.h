// The file that names the tenants, their keys and their limits.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/tenants/tenant_directory.h"

namespace quire {

// YAML (of which JSON is a part):
//
//   tenants:
//     - name: search
//       keys: [2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae]   # printf %s KEY | sha256sum
//       weight: 2                  # of its share; default 1
//       max_concurrency: 64        # requests at once
//       max_queued_tokens: 100000  # prompt tokens that wait
//       tokens_per_minute: 200000  # prompt and answer
//       max_page_share: 0.5        # of the KV pool
//       max_sessions: 20           # open at once
//       max_leases: 50             # on prefixes: those of sessions, and one more for each that has a request
//       max_pinned_share: 0.1      # of the KV pool, for pinned leases
//       min_priority: 0            # the most urgent that it may ask for
//       admin: true                # metrics, statistics, cache events, flushing; default false
//
// INVALID_ARGUMENT names the place at fault: an unknown property, a value out of range, a name or key used twice.
absl::StatusOr<TenantDirectory> ParseTenants(const std::string& yaml);
// The same of a file's contents. NOT_FOUND when it cannot be read.
absl::StatusOr<TenantDirectory> LoadTenants(const std::string& path);

}  // namespace quire
