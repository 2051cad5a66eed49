#include "tests/sim/lease_holder.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace quire {

void LeaseHolder::Disturb(absl::Time now) {
  ForgetExpired(now);
  switch (random_.Between(0, 3)) {
    case 0:
    case 1:
      return Pin(now);
    case 2:
      return Unpin(now);
    case 3:
      return Evict();
  }
}

void LeaseHolder::Pin(absl::Time now) {
  const std::vector<TokenId> tokens = workload_.AnyPrefix();
  const LeaseRequest request = workload_.MakeLease();
  const uint64_t owner = AnyOwner();
  const absl::StatusOr<Lease> lease = engine_.Pin(tokens, owner, request, now);
  if (lease.ok()) {
    if (lease->options.owner != owner) Fail("a lease is not its owner's");
    held_[lease->id] = {*lease, tokens};
    ++num_taken_;
  } else if (!absl::IsNotFound(lease.status()) && !absl::IsResourceExhausted(lease.status()) &&
             !absl::IsFailedPrecondition(lease.status())) {
    Fail(absl::StrCat("a lease was refused: ", lease.status().ToString()));
  }
}

void LeaseHolder::Unpin(absl::Time now) {
  if (held_.empty()) return;
  const auto it = std::next(held_.begin(), random_.Between(0, static_cast<int>(held_.size()) - 1));
  const Lease& lease = it->second.lease;
  if (engine_.Unpin(lease.options.owner + 1, lease.id, now).ok()) Fail("a stranger ended a lease");
  // A preferred one may have ended meanwhile.
  if (!engine_.Unpin(lease.options.owner, lease.id, now).ok() && lease.options.kind == LeaseKind::kPinned) {
    Fail("a pinned lease could not be ended");
  }
  held_.erase(it);
}

void LeaseHolder::Evict() {
  if (random_.Chance(20)) {
    engine_.EvictAll();
  } else if (random_.Chance(30)) {
    engine_.EvictOwner(AnyOwner());
  } else {
    engine_.EvictPrefix(workload_.AnyPrefix(), AnyOwner());
  }
}

void LeaseHolder::Take(const SequenceOutput& output, std::vector<TokenId> tokens) {
  const absl::StatusOr<Lease>& lease = *output.lease;
  if (!lease.ok()) return;
  if (lease->num_tokens > static_cast<int>(tokens.size())) Fail("a lease keeps more than there is");
  held_[lease->id] = {*lease, std::move(tokens)};
  ++num_taken_;
}

void LeaseHolder::ForgetExpired(absl::Time now) {
  clock_ = std::max(clock_, now);
  std::erase_if(held_, [this](const auto& entry) {
    return entry.second.lease.options.expires <= absl::ToUnixNanos(clock_);
  });
}

void LeaseHolder::Check(absl::Time now) {
  ForgetExpired(now);
  size_t num_listed = 0;
  for (int tenant = 0; tenant < config_.num_tenants; ++tenant) {
    for (const Lease& lease : engine_.ListLeases(SaltOf(tenant), held_.size() + 1, now)) {
      const auto found = held_.find(lease.id);
      if (found == held_.end() || found->second.lease.options.owner != SaltOf(tenant)) {
        return Fail(absl::StrCat("lease ", lease.id, " is listed, but not held by tenant ", tenant));
      }
      ++num_listed;
    }
  }
  size_t num_found = 0;
  for (auto& [id, held] : held_) {
    const Lease* lease = engine_.blocks().FindLease(id);
    CheckLease(held, lease);
    num_found += lease != nullptr;
  }
  if (num_found != num_listed) Fail("a lease is not listed to its owner");
  std::erase_if(held_, [](const auto& entry) { return entry.second.lease.num_tokens == 0; });
  const BlockCounts counts = engine_.stats().blocks;
  if (counts.pinned > static_cast<int64_t>(config_.engine.max_pinned_share * static_cast<double>(counts.total))) {
    Fail("more pages are pinned than may be");
  }
}

void LeaseHolder::CheckLease(Held& held, const Lease* found) {
  Lease& lease = held.lease;
  const int num_tokens = found == nullptr ? 0 : found->num_tokens;
  if (num_tokens > lease.num_tokens) return Fail(absl::StrCat("lease ", lease.id, " grew"));
  if (num_tokens < lease.num_tokens) {
    if (lease.options.kind == LeaseKind::kPinned) {
      return Fail(absl::StrCat("pinned lease ", lease.id, " keeps ", num_tokens, " tokens of ", lease.num_tokens));
    }
    ++num_shortened_;
    lease.num_tokens = num_tokens;
  }
  // One token more: a look-up leaves the last one out.
  std::vector<TokenId> tokens(held.tokens.begin(), held.tokens.begin() + num_tokens);
  tokens.push_back(0);
  const int block_size = config_.engine.blocks.block_size;
  if (engine_.blocks().CountCached(tokens, lease.options.owner) < num_tokens / block_size * block_size) {
    Fail(absl::StrCat("what lease ", lease.id, " keeps is not found"));
  }
}

void LeaseHolder::EndAll(absl::Time now) {
  for (const auto& [id, held] : held_) engine_.Unpin(held.lease.options.owner, id, now).IgnoreError();
  held_.clear();
}

}  // namespace quire
