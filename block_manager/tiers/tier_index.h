// TierIndex: which pages a tier has, in which slots, and which of them is given up next. Least recently used goes first,
// and never a slot that a read or a write has to do with. Every operation is O(1) on average.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "block_manager/block_pool.h"
#include "block_manager/tiers/page_slots.h"

namespace quire {

class TierIndex {
 public:
  explicit TierIndex(int num_slots) : slots_(num_slots), keys_(num_slots) {}

  int num_pages() const { return static_cast<int>(by_key_.size()); }
  bool Contains(const PageKey& key) const { return by_key_.contains(key); }

  // A slot to write to: a free one or that of the page to give up, which is forgotten. kNoBlock: all are busy.
  SlotId Take();
  // A page that was left by an earlier process. One that is known already is newer there and takes the other's place.
  // REQUIRES: nobody has the slot.
  void Adopt(SlotId slot, const PageKey& key);
  // The slot of a known page, to read from, busy until it is given back. REQUIRES: Contains(key).
  SlotId Hold(const PageKey& key);
  // The slot holds this page, as the most recently used. Ends Take or Hold.
  void Keep(SlotId slot, const PageKey& key);
  // The slot holds nothing. Ends Take or Hold.
  void Abandon(SlotId slot);
  // The slot does not hold this page any more, if it did. One that is busy stays so until it is given back.
  void Drop(SlotId slot, const PageKey& key);
  // Slots that are busy stay so until they are given back.
  void Clear();

  uint64_t num_evicted() const { return num_evicted_; }
  // O(slots).
  void CheckInvariants() const;

 private:
  void Forget(SlotId slot);

  BlockPool slots_;  // Its cached pages are those that can be read and that nobody reads.
  std::vector<PageKey> keys_;
  absl::flat_hash_map<PageKey, SlotId> by_key_;
  uint64_t num_evicted_ = 0;
};

}  // namespace quire
