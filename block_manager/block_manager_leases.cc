// What BlockManager does with leases.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "block_manager/block_manager.h"
#include "kernels/check.h"

namespace quire {

BlockManager::PrefixMatch BlockManager::FindComputed(std::span<const TokenId> tokens, uint64_t salt) const {
  PrefixMatch match;
  if (epoch_ == 0) return match;
  PageParent parent{kNoBlock, salt};
  while (static_cast<size_t>(match.num_blocks) * block_size() < tokens.size()) {
    const std::span<const TokenId> page = PageTokens(tokens, match.num_blocks);
    const BlockId found = static_cast<int>(page.size()) == block_size() ? index_.Find(parent, page) : kNoBlock;
    if (found == kNoBlock || index_.IsComputing(found)) {
      match.overlap = index_.FindOverlap(parent, page);
      break;
    }
    parent.block = match.last = found;
    ++match.num_blocks;
  }
  return match;
}

LeaseResult BlockManager::Pin(std::span<const TokenId> tokens, const LeaseOptions& options, const LeaseLimits& limits) {
  const PrefixMatch match = FindComputed(tokens, options.owner);
  if (NumCached(match) == 0) return {.outcome = LeaseOutcome::kNothingCached};
  if (leases_.size() >= options_.max_leases) return {.outcome = LeaseOutcome::kTooManyLeases};
  if (leases_.CountOf(options.owner) >= limits.max_leases) return {.outcome = LeaseOutcome::kOwnerHasTooMany};

  std::vector<BlockId> blocks;
  if (match.overlap.num_tokens > 0) blocks.push_back(match.overlap.block);
  for (BlockId block = match.last; block != kNoBlock; block = index_.parent(block)) blocks.push_back(block);
  std::ranges::reverse(blocks);

  LeaseOptions granted = options;
  const auto num_more =
      static_cast<int>(std::ranges::count_if(blocks, [this](BlockId block) { return !pool_.is_pinned(block); }));
  const bool too_much = pool_.num_pinned() + num_more > options_.max_pinned_blocks;
  const bool owner_too_much = leases_.num_pinned_of(options.owner) + num_more > limits.max_pinned_blocks;
  if (options.kind == LeaseKind::kPinned && (too_much || owner_too_much)) {
    if (!options.or_preferred) {
      return {.outcome = owner_too_much ? LeaseOutcome::kOwnerPinsTooMuch : LeaseOutcome::kTooMuchPinned};
    }
    granted.kind = LeaseKind::kPreferred;
  }
  for (BlockId block : blocks) {
    pool_.Hold(block);
    pool_.AddLease(block, granted.kind == LeaseKind::kPinned);
  }
  const Lease& lease = leases_.Add(granted, std::move(blocks), NumCached(match)).lease;
  // Whoever else pins these pages is the same owner: nobody else has its salt.
  if (granted.kind == LeaseKind::kPinned) leases_.AddPinned(granted.owner, num_more);
  return {LeaseOutcome::kLeased, lease};
}

bool BlockManager::Unpin(uint64_t owner, LeaseId id) {
  const Lease* lease = FindLease(id);
  if (lease == nullptr || lease->options.owner != owner) return false;
  EndLease(id);
  return true;
}

void BlockManager::EndLeases(int64_t now) {
  for (;;) {
    const LeaseBook::Entry* first = leases_.first_to_end();
    if (first == nullptr || first->lease.options.expires > now) return;
    EndLease(first->lease.id);
  }
}

const Lease* BlockManager::FindLease(LeaseId id) const {
  const LeaseBook::Entry* entry = leases_.Find(id);
  return entry == nullptr ? nullptr : &entry->lease;
}

void BlockManager::EndLease(LeaseId id) {
  while (leases_.Find(id) != nullptr) ShortenLease(id);
}

void BlockManager::ShortenLease(LeaseId id) {
  const LeaseBook::Entry& entry = *leases_.Find(id);
  const BlockId last = entry.blocks.back();
  const bool pinned = entry.lease.options.kind == LeaseKind::kPinned;
  pool_.RemoveLease(last, pinned);
  if (pinned && !pool_.is_pinned(last)) leases_.AddPinned(entry.lease.options.owner, -1);
  leases_.DropLastBlock(id);
  DropFromTable(last);
}

void BlockManager::CheckLeases(std::vector<int>& num_references) const {
  leases_.CheckInvariants();
  QUIRE_CHECK(leases_.size() <= options_.max_leases);
  QUIRE_CHECK(pool_.num_pinned() <= options_.max_pinned_blocks);
  std::vector<int> num_leases(pool_.num_blocks(), 0);
  std::map<uint64_t, std::set<BlockId>> pinned_of;
  for (const auto& [id, entry] : leases_.entries()) {
    std::set<BlockId>& pinned = pinned_of[entry.lease.options.owner];
    if (entry.lease.options.kind == LeaseKind::kPinned) pinned.insert(entry.blocks.begin(), entry.blocks.end());
    BlockId parent = kNoBlock;
    for (BlockId block : entry.blocks) {
      QUIRE_CHECK(index_.IsComputed(block) && index_.parent(block) == parent);
      parent = block;
      ++num_leases[block];
    }
  }
  for (const auto& [owner, pinned] : pinned_of) {
    QUIRE_CHECK(leases_.num_pinned_of(owner) == static_cast<int>(pinned.size()));
  }
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    QUIRE_CHECK(pool_.num_leases(block) == num_leases[block]);
    num_references[block] += num_leases[block];
  }
}

}  // namespace quire
