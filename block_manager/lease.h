// Lease: a promise to keep what the cache has of a prefix.
#pragma once

#include <cstdint>
#include <limits>

namespace quire {

using LeaseId = uint64_t;
inline constexpr LeaseId kNoLease = 0;

enum class LeaseKind : uint8_t {
  kPreferred,  // Given up, from its end, before a running sequence is preempted, and after everything that nobody leases.
  kPinned,     // Never given up. What all of these hold is bounded.
};

struct LeaseOptions {
  // Whose it is: the salt of the prefix that it keeps. Nobody else sees it or ends it.
  uint64_t owner = 0;
  LeaseKind kind = LeaseKind::kPreferred;
  bool or_preferred = false;  // Where a pinned one would exceed the bound, take a preferred one instead.
  int priority = 0;           // Of a preferred one: those with less are given up first.
  // On the clock, and in the unit, of whoever ends those that are over (see BlockManager::EndLeases).
  int64_t expires = std::numeric_limits<int64_t>::max();
};

// What all leases of one owner may have together, beside what those of all owners may.
struct LeaseLimits {
  int max_leases = std::numeric_limits<int>::max();
  int max_pinned_blocks = std::numeric_limits<int>::max();
};

struct Lease {
  LeaseId id = kNoLease;
  LeaseOptions options;        // The kind is the one that it got.
  int num_tokens = 0;          // Leading tokens that it keeps now: fewer once some of it was given up.
  int num_tokens_at_first = 0;
  int num_blocks = 0;          // Pages that hold them.
};

enum class LeaseOutcome {
  kLeased,
  kNothingCached,  // There is no page to hold.
  kTooMuchPinned,  // More than may be pinned.
  kTooManyLeases,
  kOwnerPinsTooMuch,  // More than this owner may pin, and
  kOwnerHasTooMany,   // as many leases as it may have.
};

}  // namespace quire
