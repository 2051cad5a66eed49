#include "block_manager/tiers/tier_index.h"

#include "kernels/check.h"

namespace quire {

SlotId TierIndex::Take() {
  if (slots_.num_free() == 0) {
    const SlotId oldest = slots_.oldest_cached();
    if (oldest == kNoBlock) return kNoBlock;
    Forget(oldest);
    slots_.Discard(oldest);
    ++num_evicted_;
  }
  return slots_.Take();
}

void TierIndex::Adopt(SlotId slot, const PageKey& key) {
  QUIRE_CHECK(slots_.refcount(slot) == 0 && !slots_.is_cached(slot));
  if (const auto known = by_key_.find(key); known != by_key_.end()) {
    const SlotId older = known->second;
    Forget(older);
    slots_.Discard(older);
  }
  slots_.TakeThis(slot);
  Keep(slot, key);
}

SlotId TierIndex::Hold(const PageKey& key) {
  const SlotId slot = by_key_.at(key);
  slots_.Hold(slot);
  return slot;
}

void TierIndex::Keep(SlotId slot, const PageKey& key) {
  const auto [known, is_new] = by_key_.try_emplace(key, slot);
  // Another write of the same page, or one after Clear, may have been faster.
  if (!is_new && known->second != slot) return Abandon(slot);
  keys_[slot] = key;
  slots_.Drop(slot, /*keep=*/true);
}

void TierIndex::Abandon(SlotId slot) {
  Forget(slot);
  slots_.Drop(slot, /*keep=*/false);
}

void TierIndex::Forget(SlotId slot) {
  const auto known = by_key_.find(keys_[slot]);
  if (known != by_key_.end() && known->second == slot) by_key_.erase(known);
}

void TierIndex::Drop(SlotId slot, const PageKey& key) {
  const auto known = by_key_.find(key);
  if (known == by_key_.end() || known->second != slot) return;
  by_key_.erase(known);
  if (slots_.is_cached(slot)) slots_.Discard(slot);
}

void TierIndex::Clear() {
  by_key_.clear();
  while (slots_.oldest_cached() != kNoBlock) slots_.Discard(slots_.oldest_cached());
}

void TierIndex::CheckInvariants() const {
  slots_.CheckInvariants();
  for (const auto& [key, slot] : by_key_) QUIRE_CHECK(keys_[slot] == key);
  for (SlotId slot = slots_.oldest_cached(); slot != kNoBlock; slot = slots_.next_cached(slot)) {
    QUIRE_CHECK(by_key_.contains(keys_[slot]));
  }
}

}  // namespace quire
