// What BlockManager does with leases.
#include <algorithm>
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

LeaseResult BlockManager::Pin(std::span<const TokenId> tokens, const LeaseOptions& options) {
  const PrefixMatch match = FindComputed(tokens, options.owner);
  if (NumCached(match) == 0) return {.outcome = LeaseOutcome::kNothingCached};
  if (leases_.size() >= options_.max_leases) return {.outcome = LeaseOutcome::kTooManyLeases};

  std::vector<BlockId> blocks;
  if (match.overlap.num_tokens > 0) blocks.push_back(match.overlap.block);
  for (BlockId block = match.last; block != kNoBlock; block = index_.parent(block)) blocks.push_back(block);
  std::ranges::reverse(blocks);

  LeaseOptions granted = options;
  const auto num_more = std::ranges::count_if(blocks, [this](BlockId block) { return !pool_.is_pinned(block); });
  if (options.kind == LeaseKind::kPinned && pool_.num_pinned() + num_more > options_.max_pinned_blocks) {
    if (!options.or_preferred) return {.outcome = LeaseOutcome::kTooMuchPinned};
    granted.kind = LeaseKind::kPreferred;
  }
  for (BlockId block : blocks) {
    pool_.Hold(block);
    pool_.AddLease(block, granted.kind == LeaseKind::kPinned);
  }
  return {LeaseOutcome::kLeased, leases_.Add(granted, std::move(blocks), NumCached(match)).lease};
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
  pool_.RemoveLease(last, entry.lease.options.kind == LeaseKind::kPinned);
  leases_.DropLastBlock(id);
  DropFromTable(last);
}

void BlockManager::CheckLeases(std::vector<int>& num_references) const {
  leases_.CheckInvariants();
  QUIRE_CHECK(leases_.size() <= options_.max_leases);
  QUIRE_CHECK(pool_.num_pinned() <= options_.max_pinned_blocks);
  std::vector<int> num_leases(pool_.num_blocks(), 0);
  for (const auto& [id, entry] : leases_.entries()) {
    BlockId parent = kNoBlock;
    for (BlockId block : entry.blocks) {
      QUIRE_CHECK(index_.IsComputed(block) && index_.parent(block) == parent);
      parent = block;
      ++num_leases[block];
    }
  }
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    QUIRE_CHECK(pool_.num_leases(block) == num_leases[block]);
    num_references[block] += num_leases[block];
  }
}

}  // namespace quire
