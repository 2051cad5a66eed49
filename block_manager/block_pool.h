// BlockPool: which pages are free, used and cached, which of the used ones leases hold, and in which order the cached
// ones are given up. It knows nothing of tokens. Every operation is O(1) and allocates nothing.
#pragma once

#include <vector>

#include "block_manager/ids.h"

namespace quire {

// Invariants: a page with refcount 0 is in exactly one of two lists, free or cached; a page with more is in neither. No
// more references are leases' than there are, and no more of those pinned.
class BlockPool {
 public:
  // All pages free. REQUIRES: num_blocks >= 1.
  explicit BlockPool(int num_blocks);

  int num_blocks() const { return static_cast<int>(blocks_.size()) - kNumLists; }
  int num_free() const { return num_free_; }
  int num_cached() const { return num_cached_; }
  int num_used() const { return num_blocks() - num_free_ - num_cached_; }
  // Of the used ones, those with more than one reference.
  int num_shared() const { return num_shared_; }
  int refcount(BlockId block) const { return blocks_[block].refcount; }
  bool is_cached(BlockId block) const { return blocks_[block].cached; }

  // Of the used ones, those that any lease holds, those that a pinned lease does, and those that nobody holds but leases
  // that are not pinned.
  int num_leased() const { return num_leased_; }
  int num_pinned() const { return num_pinned_; }
  int num_yielding() const { return num_yielding_; }
  bool is_leased(BlockId block) const { return blocks_[block].leases > 0; }
  bool is_pinned(BlockId block) const { return blocks_[block].pins > 0; }
  bool is_yielding(BlockId block) const { return IsYielding(blocks_[block]); }
  int num_leases(BlockId block) const { return blocks_[block].leases; }

  // A free page becomes used, with refcount 1. REQUIRES: num_free() >= 1.
  BlockId Take();
  // The same for this one. REQUIRES: it is free.
  void TakeThis(BlockId block);
  // One reference more: a cached page becomes used. REQUIRES: the page is not free.
  void Hold(BlockId block);
  // One reference less. The last one leaves the page free or, with `keep`, the most recently used of the cached ones.
  void Drop(BlockId block, bool keep);
  // A cached page becomes free.
  void Discard(BlockId block);
  // One of a page's references becomes a lease's, or is no longer one. REQUIRES: there is such a reference.
  void AddLease(BlockId block, bool pinned);
  void RemoveLease(BlockId block, bool pinned);

  // The cached pages, least recently used first; kNoBlock ends them.
  BlockId oldest_cached() const { return OrNone(blocks_[cached_list()].next); }
  BlockId next_cached(BlockId block) const { return OrNone(blocks_[block].next); }

  // O(pool).
  void CheckInvariants() const;

 private:
  // Both lists are circular, through a sentinel behind the real pages.
  static constexpr int kNumLists = 2;
  struct Block {
    int refcount = 0;
    int leases = 0;  // Of the references, those of leases;
    int pins = 0;    // of these, those of pinned ones.
    bool cached = false;
    BlockId previous = kNoBlock;
    BlockId next = kNoBlock;
  };

  BlockId free_list() const { return num_blocks(); }
  BlockId cached_list() const { return num_blocks() + 1; }
  BlockId OrNone(BlockId block) const { return block < num_blocks() ? block : kNoBlock; }
  static bool IsYielding(const Block& block) {
    return block.leases > 0 && block.pins == 0 && block.leases == block.refcount;
  }
  // Adds a used page to the counts of its kinds, or takes it out: around whatever changes its references.
  void Count(const Block& block, int sign);
  void Append(BlockId list, BlockId block);
  void Unlink(BlockId block);
  int CheckList(BlockId list, bool cached) const;

  std::vector<Block> blocks_;  // [num_blocks + kNumLists]
  int num_free_ = 0;
  int num_cached_ = 0;
  int num_shared_ = 0;
  int num_leased_ = 0;
  int num_pinned_ = 0;
  int num_yielding_ = 0;
};

}  // namespace quire
