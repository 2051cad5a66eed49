// PrefixIndex: finds pages by the tokens that they hold and the pages before them. A tree of pages under one root per
// salt, beside a hash table over its full pages. All memory but that of recorded events is taken at construction; an operation
// is expected to be O(page size).
//
// Hash of a full page: XXH3 of its tokens, seeded with its parent's hash, or with that of the salt for a first page. It
// depends on nothing but salt and tokens, so it is the same in every process. Its low bits are the key that the page is
// looked up by; only an equal parent and equal tokens make a hit.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "block_manager/ids.h"
#include "block_manager/page_event.h"
#include "block_manager/page_key.h"

namespace quire {

// The key that takes a parent's place for first pages, and that of a page which follows one with this key.
PageKey RootKey(uint64_t salt);
PageKey NextKey(const PageKey& parent, std::span<const TokenId> tokens);

// What a page follows: an indexed page or, for the first page of a sequence, the root of a salt.
struct PageParent {
  BlockId block = kNoBlock;
  uint64_t salt = 0;
};

// A page that shares its first num_tokens tokens, but not all, with what was looked for.
struct PageOverlap {
  BlockId block = kNoBlock;
  int num_tokens = 0;
};

// Invariants: a page's parent is full and in the index, and computed if the page is; no two full pages have the same
// parent and tokens; a partly filled page is computed and has no children.
class PrefixIndex {
 public:
  enum class State : uint8_t { kComputing, kComputed };

  PrefixIndex(int num_blocks, int block_size, int key_bits);

  // What takes a parent's place for first pages. Salts that differ little give hashes that have nothing in common; as
  // seeds they would not.
  static uint64_t RootHash(uint64_t salt);
  // Hash of a page of `tokens` whose parent has this hash.
  static uint64_t PageHash(uint64_t parent_hash, std::span<const TokenId> tokens);

  // The full page with these tokens, or kNoBlock. REQUIRES: a page's worth of tokens.
  BlockId Find(const PageParent& parent, std::span<const TokenId> tokens) const;
  // Of the newest computed children of `parent`, the one that shares the most leading tokens.
  PageOverlap FindOverlap(const PageParent& parent, std::span<const TokenId> tokens) const;
  // A partly filled sibling whose tokens are a proper prefix of this page's, or kNoBlock.
  BlockId FindCoveredSibling(BlockId block) const;

  // REQUIRES: the page is not in the index; tokens are a page's worth, not to be found under `parent` yet, or fewer and
  // computed.
  void Insert(BlockId block, const PageParent& parent, std::span<const TokenId> tokens, State state);
  void MarkComputed(BlockId block);
  // REQUIRES: the page is in the index and has no children.
  void Remove(BlockId block);

  bool Contains(BlockId block) const { return entries_[block].num_tokens > 0; }
  bool IsComputing(BlockId block) const { return Contains(block) && entries_[block].state == State::kComputing; }
  bool IsComputed(BlockId block) const { return Contains(block) && entries_[block].state == State::kComputed; }
  // Of a page in the index; kNoBlock if there is none.
  BlockId parent(BlockId block) const { return entries_[block].parent.block; }
  BlockId first_child(BlockId block) const { return first_child_[block]; }
  uint64_t salt(BlockId block) const { return entries_[block].parent.salt; }
  // Of a full page in the index.
  PageKey key(BlockId block) const { return {entries_[block].hash, entries_[block].check}; }
  PageKey KeyOf(const PageParent& parent) const {
    return parent.block == kNoBlock ? RootKey(parent.salt) : key(parent.block);
  }
  std::vector<BlockId> Children(const PageParent& parent) const;
  // What a page of the index holds.
  std::span<const TokenId> TokensOf(BlockId block) const;

  // Events since the last call, oldest first. There are none until RecordEvents was called.
  void RecordEvents() { record_events_ = true; }
  std::vector<PageEvent> TakeEvents() { return std::exchange(events_, {}); }
  // The removals just recorded were those of everything there was. REQUIRES: the index is empty.
  void NoteCleared();
  // The full, computed pages as kStored events, parents before children. O(pool).
  std::vector<PageEvent> SharedPages() const;

  // The same for pages alone that have become shareable; some of them may no longer be. Each at most once.
  void RecordComputed() { record_computed_ = true; }
  bool HasComputed() const { return !computed_.empty(); }
  std::vector<BlockId> TakeComputed();

  // O(pool), and the length of each page's list of siblings.
  void CheckInvariants() const;

 private:
  struct Entry {
    uint64_t hash = 0;   // Of a full page,
    uint64_t check = 0;  // as in its PageKey.
    PageParent parent;
    int num_tokens = 0;  // 0: not in the index.
    State state = State::kComputing;
    BlockId next_in_bucket = kNoBlock;
    BlockId previous_sibling = kNoBlock;
    BlockId next_sibling = kNoBlock;
  };

  bool IsFull(const Entry& entry) const { return entry.num_tokens == block_size_; }
  bool IsShared(const Entry& entry) const { return IsFull(entry) && entry.state == State::kComputed; }
  uint64_t HashOf(const PageParent& parent, std::span<const TokenId> tokens) const;
  bool IsChild(const Entry& entry, const PageParent& parent) const;
  size_t BucketOf(uint64_t hash) const { return hash & key_mask_ & bucket_mask_; }
  // Into first_child_.
  size_t ChildListOf(const PageParent& parent) const;
  void NoteShared(BlockId block);
  PageEvent StoredEvent(BlockId block) const;
  void CheckEntry(BlockId block) const;

  const int block_size_;
  const uint64_t key_mask_;
  const uint64_t bucket_mask_;
  std::vector<Entry> entries_;    // [num_blocks]
  std::vector<TokenId> tokens_;   // [num_blocks, block_size]
  std::vector<BlockId> buckets_;  // First full page by key.
  // Newest child of each page, then of each root, by some bits of its salt: such a list may mix salts.
  std::vector<BlockId> first_child_;
  bool record_events_ = false;
  std::vector<PageEvent> events_;
  bool record_computed_ = false;
  std::vector<BlockId> computed_;
  std::vector<bool> is_in_computed_;  // [num_blocks]
};

}  // namespace quire
