#include "block_manager/lease_book.h"

#include <algorithm>

#include "block_manager/planted_bug.h"
#include "kernels/check.h"

namespace quire {

const LeaseBook::Entry& LeaseBook::Add(const LeaseOptions& options, std::vector<BlockId> blocks, int num_tokens) {
  QUIRE_CHECK(num_tokens >= 1 && !blocks.empty());
  const LeaseId id = ++last_id_;
  Entry& entry = entries_[id];
  entry.lease = {id, options, num_tokens, num_tokens, static_cast<int>(blocks.size())};
  entry.blocks = std::move(blocks);
  const bool may_be_given_up =
      options.kind == LeaseKind::kPreferred || kPlantedBug == PlantedBug::kPinnedLikePreferred;
  if (may_be_given_up) preferred_.insert(WeaknessOf(entry.lease));
  by_end_.insert({options.expires, id});
  owners_[options.owner].leases.insert(id);
  return entry;
}

const LeaseBook::Entry* LeaseBook::Find(LeaseId id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &found->second;
}

void LeaseBook::DropLastBlock(LeaseId id) {
  Entry& entry = entries_.at(id);
  entry.blocks.pop_back();
  if (entry.blocks.empty()) return Remove(id);
  entry.lease.num_blocks = static_cast<int>(entry.blocks.size());
  entry.lease.num_tokens = entry.lease.num_blocks * block_size_;
}

void LeaseBook::Remove(LeaseId id) {
  const auto found = entries_.find(id);
  QUIRE_CHECK(found != entries_.end());
  const Lease& lease = found->second.lease;
  preferred_.erase(WeaknessOf(lease));
  by_end_.erase({lease.options.expires, id});
  const auto owner = owners_.find(lease.options.owner);
  owner->second.leases.erase(id);
  if (owner->second.leases.empty()) owners_.erase(owner);
  entries_.erase(found);
}

const LeaseBook::Entry* LeaseBook::weakest() const {
  return preferred_.empty() ? nullptr : Find(preferred_.begin()->id);
}

const LeaseBook::Entry* LeaseBook::first_to_end() const {
  return by_end_.empty() ? nullptr : Find(by_end_.begin()->second);
}

std::vector<Lease> LeaseBook::List(uint64_t owner, size_t max_leases) const {
  std::vector<Lease> leases;
  const auto found = owners_.find(owner);
  if (found == owners_.end()) return leases;
  for (LeaseId id : found->second.leases) {
    if (leases.size() == max_leases) break;
    leases.push_back(entries_.at(id).lease);
  }
  return leases;
}

int LeaseBook::CountOf(uint64_t owner) const {
  const auto found = owners_.find(owner);
  return found == owners_.end() ? 0 : static_cast<int>(found->second.leases.size());
}

void LeaseBook::AddPinned(uint64_t owner, int num_blocks) { owners_.at(owner).num_pinned += num_blocks; }

int LeaseBook::num_pinned_of(uint64_t owner) const {
  const auto found = owners_.find(owner);
  return found == owners_.end() ? 0 : found->second.num_pinned;
}

void LeaseBook::CheckInvariants() const {
  size_t num_preferred = 0, num_owned = 0;
  for (const auto& [id, entry] : entries_) {
    const Lease& lease = entry.lease;
    QUIRE_CHECK(lease.id == id && id <= last_id_);
    QUIRE_CHECK(lease.num_blocks >= 1 && lease.num_blocks == static_cast<int>(entry.blocks.size()));
    QUIRE_CHECK((lease.num_tokens + block_size_ - 1) / block_size_ == lease.num_blocks);
    QUIRE_CHECK(lease.num_tokens <= lease.num_tokens_at_first);
    QUIRE_CHECK(by_end_.contains({lease.options.expires, id}) && owners_.at(lease.options.owner).leases.contains(id));
    num_preferred += preferred_.contains(WeaknessOf(lease));
  }
  QUIRE_CHECK(num_preferred == preferred_.size());
  for (const auto& [id, owner] : owners_) {
    QUIRE_CHECK(!owner.leases.empty() && owner.num_pinned >= 0);
    num_owned += owner.leases.size();
  }
  QUIRE_CHECK(by_end_.size() == entries_.size() && num_owned == entries_.size());
}

}  // namespace quire
