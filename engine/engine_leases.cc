// Leases, as the engine's callers see them: with times and statuses.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"

namespace quire {
namespace {

// BlockManager's leases count nanoseconds; those without an end never come to it.
int64_t LeaseTime(absl::Time time) { return absl::ToUnixNanos(time); }

}  // namespace

void Engine::SetLeaseClock(absl::Time now) {
  lease_clock_ = std::max(lease_clock_, now);
  blocks_.EndLeases(LeaseTime(lease_clock_));
}

absl::StatusOr<Lease> Engine::Pin(std::span<const TokenId> tokens, uint64_t owner, const LeaseRequest& request,
                                  absl::Time now) {
  if (!blocks_.caching()) return absl::FailedPreconditionError("there is nothing to pin: prefix caching is off");
  SetLeaseClock(now);
  const LeaseResult result = blocks_.Pin(tokens, {.owner = owner,
                                                  .kind = request.kind,
                                                  .or_preferred = request.or_preferred,
                                                  .priority = request.priority,
                                                  .expires = LeaseTime(lease_clock_ + request.ttl)},
                                         request.limits);
  const BlockCounts counts = blocks_.counts();
  switch (result.outcome) {
    case LeaseOutcome::kLeased:
      return result.lease;
    case LeaseOutcome::kNothingCached:
      return absl::NotFoundError("nothing of this prefix is cached");
    case LeaseOutcome::kTooMuchPinned:
      return absl::ResourceExhaustedError(absl::StrCat("pinned leases hold ", counts.pinned, " pages, and may hold ",
                                                       blocks_.max_pinned_blocks(), " of ", counts.total));
    case LeaseOutcome::kTooManyLeases:
      return absl::ResourceExhaustedError(
          absl::StrCat("there are ", blocks_.num_leases(), " leases, as many as are accepted"));
    case LeaseOutcome::kOwnerPinsTooMuch:
      return absl::ResourceExhaustedError(absl::StrCat("the tenant's pinned leases may hold ",
                                                       request.limits.max_pinned_blocks, " of ", counts.total,
                                                       " pages (max_pinned_share)"));
    case LeaseOutcome::kOwnerHasTooMany:
      return absl::ResourceExhaustedError(absl::StrCat("the tenant has ", request.limits.max_leases,
                                                       " leases, as many as it may have (max_leases)"));
  }
  return absl::InternalError("unknown outcome of a lease");
}

absl::Status Engine::Unpin(uint64_t owner, LeaseId id, absl::Time now) {
  SetLeaseClock(now);
  if (blocks_.Unpin(owner, id)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no lease ", id, ": it has ended, or is somebody else's"));
}

std::vector<Lease> Engine::ListLeases(uint64_t owner, size_t max_leases, absl::Time now) {
  SetLeaseClock(now);
  return blocks_.ListLeases(owner, max_leases);
}

}  // namespace quire
