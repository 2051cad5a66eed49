#include "block_manager/prefix_index.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>

#include "block_manager/planted_bug.h"
#include "kernels/check.h"

namespace quire {
namespace {

// A popular parent, such as a root, may have as many children as the pool has pages.
constexpr int kMaxSiblingsSeen = 32;

uint64_t KeyMask(int key_bits) {
  QUIRE_CHECK(key_bits >= 1 && key_bits <= 64);
  if constexpr (kPlantedBug == PlantedBug::kTruncatedHash) key_bits = 4;
  return ~uint64_t{0} >> (64 - key_bits);
}

int CommonPrefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return static_cast<int>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

PageKey RootKey(uint64_t salt) { return {PrefixIndex::RootHash(salt), PrefixIndex::RootHash(~salt)}; }

PageKey NextKey(const PageKey& parent, std::span<const TokenId> tokens) {
  return {PrefixIndex::PageHash(parent.hash, tokens), PrefixIndex::PageHash(parent.check, tokens)};
}

PrefixIndex::PrefixIndex(int num_blocks, int block_size, int key_bits)
    : block_size_(block_size),
      key_mask_(KeyMask(key_bits)),
      bucket_mask_(std::bit_ceil(2 * static_cast<uint64_t>(num_blocks)) - 1),
      entries_(num_blocks),
      tokens_(static_cast<size_t>(num_blocks) * block_size),
      buckets_(bucket_mask_ + 1, kNoBlock),
      first_child_(entries_.size() + buckets_.size(), kNoBlock),
      is_in_computed_(num_blocks, false) {}

uint64_t PrefixIndex::RootHash(uint64_t salt) { return XXH3_64bits(&salt, sizeof(salt)); }

uint64_t PrefixIndex::PageHash(uint64_t parent_hash, std::span<const TokenId> tokens) {
  return XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), parent_hash);
}

BlockId PrefixIndex::Find(const PageParent& parent, std::span<const TokenId> tokens) const {
  const uint64_t hash = HashOf(parent, tokens);
  for (BlockId block = buckets_[BucketOf(hash)]; block != kNoBlock; block = entries_[block].next_in_bucket) {
    const Entry& entry = entries_[block];
    if (((entry.hash ^ hash) & key_mask_) != 0 || !IsChild(entry, parent)) continue;
    if constexpr (kPlantedBug == PlantedBug::kTruncatedHash) return block;
    if (std::ranges::equal(TokensOf(block), tokens)) return block;
  }
  return kNoBlock;
}

PageOverlap PrefixIndex::FindOverlap(const PageParent& parent, std::span<const TokenId> tokens) const {
  PageOverlap best;
  int seen = 0;
  for (BlockId block = first_child_[ChildListOf(parent)]; block != kNoBlock && seen < kMaxSiblingsSeen; ++seen) {
    const Entry& entry = entries_[block];
    if (entry.state == State::kComputed && IsChild(entry, parent)) {
      const int shared = CommonPrefix(TokensOf(block), tokens);
      if (shared > best.num_tokens) best = {block, shared};
    }
    block = entry.next_sibling;
  }
  return best;
}

BlockId PrefixIndex::FindCoveredSibling(BlockId block) const {
  const std::span<const TokenId> tokens = TokensOf(block);
  int seen = 0;
  for (BlockId other = first_child_[ChildListOf(entries_[block].parent)]; other != kNoBlock && seen < kMaxSiblingsSeen;
       ++seen) {
    const Entry& entry = entries_[other];
    if (entry.num_tokens < entries_[block].num_tokens && IsChild(entry, entries_[block].parent) &&
        CommonPrefix(TokensOf(other), tokens) == entry.num_tokens) {
      return other;
    }
    other = entry.next_sibling;
  }
  return kNoBlock;
}

std::vector<BlockId> PrefixIndex::Children(const PageParent& parent) const {
  std::vector<BlockId> children;
  for (BlockId child = first_child_[ChildListOf(parent)]; child != kNoBlock; child = entries_[child].next_sibling) {
    if (IsChild(entries_[child], parent)) children.push_back(child);
  }
  return children;
}

void PrefixIndex::Insert(BlockId block, const PageParent& parent, std::span<const TokenId> tokens, State state) {
  Entry& entry = entries_[block];
  QUIRE_CHECK(!Contains(block) && !tokens.empty());
  entry.parent = parent;
  entry.num_tokens = static_cast<int>(tokens.size());
  entry.state = state;
  std::ranges::copy(tokens, tokens_.begin() + static_cast<ptrdiff_t>(block) * block_size_);

  BlockId& first = first_child_[ChildListOf(parent)];
  entry.previous_sibling = kNoBlock;
  entry.next_sibling = first;
  if (first != kNoBlock) entries_[first].previous_sibling = block;
  first = block;

  if (!IsFull(entry)) return;
  const PageKey key = NextKey(KeyOf(parent), tokens);
  entry.hash = key.hash;
  entry.check = key.check;
  BlockId& bucket = buckets_[BucketOf(entry.hash)];
  entry.next_in_bucket = bucket;
  bucket = block;
  if (IsShared(entry)) NoteShared(block);
}

void PrefixIndex::MarkComputed(BlockId block) {
  QUIRE_CHECK(IsComputing(block));
  entries_[block].state = State::kComputed;
  NoteShared(block);
}

void PrefixIndex::NoteShared(BlockId block) {
  if (record_events_) events_.push_back(StoredEvent(block));
  if (!record_computed_ || is_in_computed_[block]) return;
  is_in_computed_[block] = true;
  computed_.push_back(block);
}

std::vector<BlockId> PrefixIndex::TakeComputed() {
  for (BlockId block : computed_) is_in_computed_[block] = false;
  return std::exchange(computed_, {});
}

void PrefixIndex::Remove(BlockId block) {
  Entry& entry = entries_[block];
  QUIRE_CHECK(Contains(block) && first_child_[block] == kNoBlock);
  if (entry.previous_sibling == kNoBlock) {
    first_child_[ChildListOf(entry.parent)] = entry.next_sibling;
  } else {
    entries_[entry.previous_sibling].next_sibling = entry.next_sibling;
  }
  if (entry.next_sibling != kNoBlock) entries_[entry.next_sibling].previous_sibling = entry.previous_sibling;

  if (IsFull(entry)) {
    BlockId* link = &buckets_[BucketOf(entry.hash)];
    while (*link != block) link = &entries_[*link].next_in_bucket;
    *link = entry.next_in_bucket;
  }
  if (record_events_ && IsShared(entry)) events_.push_back({.kind = PageEvent::Kind::kRemoved, .hash = entry.hash, .salt = entry.parent.salt});
  entry = Entry();
}

PageEvent PrefixIndex::StoredEvent(BlockId block) const {
  const Entry& entry = entries_[block];
  const std::span<const TokenId> tokens = TokensOf(block);
  PageEvent event{.kind = PageEvent::Kind::kStored, .hash = entry.hash};
  if (entry.parent.block != kNoBlock) event.parent_hash = entries_[entry.parent.block].hash;
  event.tokens.assign(tokens.begin(), tokens.end());
  event.salt = entry.parent.salt;
  return event;
}

void PrefixIndex::NoteCleared() {
  if (record_events_) events_.assign(1, {.kind = PageEvent::Kind::kCleared});
}

std::vector<PageEvent> PrefixIndex::SharedPages() const {
  std::vector<BlockId> blocks;
  for (BlockId block = 0; block < static_cast<BlockId>(entries_.size()); ++block) {
    if (entries_[block].parent.block == kNoBlock && IsShared(entries_[block])) blocks.push_back(block);
  }
  std::vector<PageEvent> pages;
  for (size_t i = 0; i < blocks.size(); ++i) {
    pages.push_back(StoredEvent(blocks[i]));
    for (BlockId child = first_child_[blocks[i]]; child != kNoBlock; child = entries_[child].next_sibling) {
      if (IsShared(entries_[child])) blocks.push_back(child);
    }
  }
  return pages;
}

uint64_t PrefixIndex::HashOf(const PageParent& parent, std::span<const TokenId> tokens) const {
  return PageHash(parent.block == kNoBlock ? RootHash(parent.salt) : entries_[parent.block].hash, tokens);
}

bool PrefixIndex::IsChild(const Entry& entry, const PageParent& parent) const {
  return entry.parent.block == parent.block && (parent.block != kNoBlock || entry.parent.salt == parent.salt);
}

std::span<const TokenId> PrefixIndex::TokensOf(BlockId block) const {
  return {&tokens_[static_cast<size_t>(block) * block_size_], static_cast<size_t>(entries_[block].num_tokens)};
}

size_t PrefixIndex::ChildListOf(const PageParent& parent) const {
  return parent.block == kNoBlock ? entries_.size() + (parent.salt & bucket_mask_) : static_cast<size_t>(parent.block);
}

void PrefixIndex::CheckInvariants() const {
  for (BlockId block = 0; block < static_cast<BlockId>(entries_.size()); ++block) {
    if (Contains(block)) CheckEntry(block);
  }
}

void PrefixIndex::CheckEntry(BlockId block) const {
  const Entry& entry = entries_[block];
  QUIRE_CHECK(entry.num_tokens <= block_size_);
  if (entry.parent.block != kNoBlock) {
    const Entry& parent = entries_[entry.parent.block];
    QUIRE_CHECK(IsFull(parent) && (parent.state == State::kComputed || entry.state == State::kComputing));
  }
  if (IsFull(entry)) {
    QUIRE_CHECK(entry.hash == HashOf(entry.parent, TokensOf(block)));
    QUIRE_CHECK(kPlantedBug == PlantedBug::kTruncatedHash || Find(entry.parent, TokensOf(block)) == block);
  } else {
    QUIRE_CHECK(entry.state == State::kComputed && first_child_[block] == kNoBlock);
  }
  BlockId sibling = first_child_[ChildListOf(entry.parent)];
  while (sibling != block) {
    QUIRE_CHECK(sibling != kNoBlock);
    sibling = entries_[sibling].next_sibling;
  }
  QUIRE_CHECK(entry.next_sibling == kNoBlock || entries_[entry.next_sibling].previous_sibling == block);
}

}  // namespace quire
