// LeaseBook: which leases there are, in the orders in which they are listed, given up, and end. It knows which pages each
// holds, and leaves holding and dropping them to its owner, BlockManager. Every operation is O(log leases), or O(what it
// returns).
#pragma once

#include <compare>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "block_manager/ids.h"
#include "block_manager/lease.h"

namespace quire {

class LeaseBook {
 public:
  struct Entry {
    Lease lease;
    std::vector<BlockId> blocks;  // In order; the last may be covered in part only.
  };

  explicit LeaseBook(int block_size) : block_size_(block_size) {}

  int size() const { return static_cast<int>(entries_.size()); }

  // REQUIRES: blocks are those of num_tokens >= 1 tokens.
  const Entry& Add(const LeaseOptions& options, std::vector<BlockId> blocks, int num_tokens);
  // nullptr if there is none.
  const Entry* Find(LeaseId id) const;
  // The last page leaves a lease. One without pages ends.
  void DropLastBlock(LeaseId id);
  // REQUIRES: there is this lease.
  void Remove(LeaseId id);

  // The first to be given up: the preferred one of least priority, of these the one that ends first. nullptr if all are
  // pinned.
  const Entry* weakest() const;
  // The first to end.
  const Entry* first_to_end() const;
  // Those of one owner, oldest first; at most max_leases.
  std::vector<Lease> List(uint64_t owner, size_t max_leases) const;
  int CountOf(uint64_t owner) const;

  // Pages that an owner's pinned leases hold, each counted once. Told by the book's owner, who knows when a page is held
  // first and last. REQUIRES: the owner has a lease.
  void AddPinned(uint64_t owner, int num_blocks);
  int num_pinned_of(uint64_t owner) const;

  const std::map<LeaseId, Entry>& entries() const { return entries_; }
  // That the orders agree with the leases. O(leases).
  void CheckInvariants() const;

 private:
  // Whose turn it is to be given up.
  struct Weaker {
    int priority;
    int64_t expires;
    LeaseId id;
    auto operator<=>(const Weaker&) const = default;
  };
  struct Owner {
    std::set<LeaseId> leases;
    int num_pinned = 0;
  };
  static Weaker WeaknessOf(const Lease& lease) { return {lease.options.priority, lease.options.expires, lease.id}; }

  const int block_size_;
  LeaseId last_id_ = kNoLease;
  std::map<LeaseId, Entry> entries_;
  std::set<Weaker> preferred_;
  std::set<std::pair<int64_t, LeaseId>> by_end_;
  std::map<uint64_t, Owner> owners_;  // That have leases.
};

}  // namespace quire
