#include "block_manager/block_pool.h"

#include "block_manager/planted_bug.h"
#include "kernels/check.h"

namespace quire {

BlockPool::BlockPool(int num_blocks) {
  blocks_.resize(static_cast<size_t>(num_blocks) + kNumLists);
  for (BlockId list : {free_list(), cached_list()}) blocks_[list].previous = blocks_[list].next = list;
  // Take serves the end of the list, so page 0 goes out first.
  for (BlockId block = num_blocks - 1; block >= 0; --block) Append(free_list(), block);
  num_free_ = num_blocks;
}

BlockId BlockPool::Take() {
  QUIRE_CHECK(num_free_ > 0);
  // The page that was freed last: its memory is the likeliest to be in a processor's cache.
  const BlockId block = blocks_[free_list()].previous;
  TakeThis(block);
  return block;
}

void BlockPool::TakeThis(BlockId block) {
  QUIRE_CHECK(blocks_[block].refcount == 0 && !blocks_[block].cached);
  Unlink(block);
  --num_free_;
  blocks_[block].refcount = 1;
}

void BlockPool::Hold(BlockId block) {
  if (blocks_[block].cached) {
    Unlink(block);
    blocks_[block].cached = false;
    --num_cached_;
  } else {
    QUIRE_CHECK(blocks_[block].refcount > 0);
  }
  Count(blocks_[block], -1);
  ++blocks_[block].refcount;
  Count(blocks_[block], 1);
}

void BlockPool::Drop(BlockId block, bool keep) {
  QUIRE_CHECK(blocks_[block].refcount > blocks_[block].leases);
  Count(blocks_[block], -1);
  --blocks_[block].refcount;
  Count(blocks_[block], 1);
  if constexpr (kPlantedBug == PlantedBug::kEarlyFree) {
    if (blocks_[block].refcount == 1) blocks_[block].refcount = 0;
  }
  if (blocks_[block].refcount > 0) return;
  if (keep) {
    Append(cached_list(), block);
    blocks_[block].cached = true;
    ++num_cached_;
  } else {
    Append(free_list(), block);
    ++num_free_;
  }
}

void BlockPool::Discard(BlockId block) {
  QUIRE_CHECK(blocks_[block].cached);
  Unlink(block);
  blocks_[block].cached = false;
  --num_cached_;
  Append(free_list(), block);
  ++num_free_;
}

void BlockPool::AddLease(BlockId block, bool pinned) {
  QUIRE_CHECK(blocks_[block].refcount > blocks_[block].leases);
  Count(blocks_[block], -1);
  ++blocks_[block].leases;
  blocks_[block].pins += pinned;
  Count(blocks_[block], 1);
}

void BlockPool::RemoveLease(BlockId block, bool pinned) {
  QUIRE_CHECK(blocks_[block].leases > 0 && blocks_[block].pins >= int{pinned});
  Count(blocks_[block], -1);
  --blocks_[block].leases;
  blocks_[block].pins -= pinned;
  Count(blocks_[block], 1);
}

void BlockPool::Count(const Block& block, int sign) {
  num_shared_ += block.refcount > 1 ? sign : 0;
  num_leased_ += block.leases > 0 ? sign : 0;
  num_pinned_ += block.pins > 0 ? sign : 0;
  num_yielding_ += IsYielding(block) ? sign : 0;
}

void BlockPool::Append(BlockId list, BlockId block) {
  const BlockId last = blocks_[list].previous;
  blocks_[block].previous = last;
  blocks_[block].next = list;
  blocks_[last].next = block;
  blocks_[list].previous = block;
}

void BlockPool::Unlink(BlockId block) {
  const Block& links = blocks_[block];
  blocks_[links.previous].next = links.next;
  blocks_[links.next].previous = links.previous;
}

void BlockPool::CheckInvariants() const {
  int num_used = 0, num_shared = 0, num_leased = 0, num_pinned = 0, num_yielding = 0;
  for (BlockId block = 0; block < num_blocks(); ++block) {
    QUIRE_CHECK(0 <= blocks_[block].pins && blocks_[block].pins <= blocks_[block].leases);
    QUIRE_CHECK(blocks_[block].leases <= blocks_[block].refcount);
    num_used += blocks_[block].refcount > 0;
    num_shared += blocks_[block].refcount > 1;
    num_leased += is_leased(block);
    num_pinned += is_pinned(block);
    num_yielding += is_yielding(block);
  }
  QUIRE_CHECK(num_used == this->num_used());
  QUIRE_CHECK(num_shared == num_shared_);
  QUIRE_CHECK(num_leased == num_leased_ && num_pinned == num_pinned_ && num_yielding == num_yielding_);
  QUIRE_CHECK(CheckList(free_list(), /*cached=*/false) == num_free_);
  QUIRE_CHECK(CheckList(cached_list(), /*cached=*/true) == num_cached_);
}

int BlockPool::CheckList(BlockId list, bool cached) const {
  int length = 0;
  for (BlockId block = blocks_[list].next; block != list; block = blocks_[block].next) {
    QUIRE_CHECK(block < num_blocks());
    QUIRE_CHECK(blocks_[block].refcount == 0 && blocks_[block].cached == cached);
    QUIRE_CHECK(blocks_[blocks_[block].next].previous == block);
    QUIRE_CHECK(++length <= num_blocks());
  }
  return length;
}

}  // namespace quire
