#include "block_manager/block_manager.h"

#include <algorithm>

#include "block_manager/planted_bug.h"
#include "kernels/check.h"

namespace quire {
namespace {

const BlockManagerOptions& Checked(const BlockManagerOptions& options) {
  QUIRE_CHECK(options.num_blocks >= 1 && options.block_size >= 1);
  return options;
}

}  // namespace

BlockManager::BlockManager(const BlockManagerOptions& options)
    : options_(Checked(options)),
      pool_(options.num_blocks),
      index_(options.num_blocks, options.block_size, options.key_bits),
      leases_(options.block_size),
      copies_from_(options.num_blocks, 0),
      awaits_copy_(options.num_blocks, false),
      epoch_(options.enable_prefix_caching ? 1 : 0) {}

Admission BlockManager::Admit(BlockTable& table, std::span<const TokenId> tokens, const AdmitOptions& options) {
  QUIRE_CHECK(table.blocks.empty() && !tokens.empty());
  PrefixMatch match;
  if (options.reuse) match = FindPrefix(tokens, options.salt);
  if (match.being_computed) return {AdmitOutcome::kWaitForPrefix, 0};

  const int num_blocks = BlocksFor(static_cast<int64_t>(tokens.size()));
  const int num_fresh = num_blocks - match.num_blocks;
  if (RoomAfter(match, num_fresh) < options.reserve_blocks) {
    // The page to copy from may be the very one that is missing, and what fits the pool must get in.
    match.overlap = {};
    if (RoomAfter(match, num_fresh) < options.reserve_blocks) return {AdmitOutcome::kNoRoom, 0};
  }

  table.salt = options.salt;
  table.index_epoch = epoch_;
  HoldMatch(table, match);
  while (static_cast<int>(table.blocks.size()) < num_blocks) table.blocks.push_back(TakePage());
  if (match.overlap.num_tokens > 0) {
    AddCopy({match.overlap.block, table.blocks[match.num_blocks], match.overlap.num_tokens});
  }
  if (IsIndexing(table)) Announce(table, tokens);
  return {AdmitOutcome::kAdmitted, NumCached(match)};
}

BlockManager::PrefixMatch BlockManager::FindPrefix(std::span<const TokenId> tokens, uint64_t salt) const {
  PrefixMatch match;
  if (epoch_ == 0) return match;
  const int last = BlocksFor(static_cast<int64_t>(tokens.size())) - 1;
  PageParent parent{kNoBlock, salt};
  for (;;) {
    const std::span<const TokenId> page = PageTokens(tokens, match.num_blocks);
    // At least one token must be computed, so of a page that would complete all of them one token is left out.
    const bool is_last = match.num_blocks == last;
    const BlockId found = static_cast<int>(page.size()) == block_size() ? index_.Find(parent, page) : kNoBlock;
    if (found == kNoBlock) {
      match.overlap = index_.FindOverlap(parent, page.first(page.size() - is_last));
      return match;
    }
    if (is_last && block_size() == 1) return match;
    if (index_.IsComputing(found)) {
      match.being_computed = true;
      return match;
    }
    if (is_last) {
      match.overlap = {found, block_size() - 1};
      return match;
    }
    parent.block = match.last = found;
    ++match.num_blocks;
  }
}

BlockManager::PrefixMatch BlockManager::FindFullPages(std::span<const TokenId> tokens, int num_pages,
                                                      uint64_t salt) const {
  PrefixMatch match;
  PageParent parent{kNoBlock, salt};
  while (epoch_ != 0 && match.num_blocks < num_pages) {
    const BlockId found = index_.Find(parent, PageTokens(tokens, match.num_blocks));
    match.being_computed = found != kNoBlock && index_.IsComputing(found);
    if (found == kNoBlock || match.being_computed) break;
    parent.block = match.last = found;
    ++match.num_blocks;
  }
  return match;
}

SharedPrefix BlockManager::FindShared(std::span<const TokenId> tokens, int num_pages, uint64_t salt) const {
  const PrefixMatch match = FindFullPages(tokens, num_pages, salt);
  const int num_fresh = BlocksFor(static_cast<int64_t>(tokens.size())) - match.num_blocks;
  return {match.num_blocks, index_.KeyOf({match.last, salt}), match.being_computed, RoomAfter(match, num_fresh)};
}

std::optional<PageRecord> BlockManager::SharedPage(BlockId block) const {
  const std::span<const TokenId> tokens = index_.TokensOf(block);
  if (!index_.IsComputed(block) || static_cast<int>(tokens.size()) < block_size()) return std::nullopt;
  const uint64_t salt = index_.salt(block);
  return PageRecord{index_.key(block), index_.KeyOf({index_.parent(block), salt}), salt, {tokens.begin(), tokens.end()}};
}

void BlockManager::AdmitLoad(BlockTable& table, std::span<const TokenId> tokens, uint64_t salt, int num_known) {
  QUIRE_CHECK(table.blocks.empty() && tokens.size() % block_size() == 0);
  const int num_pages = BlocksFor(static_cast<int64_t>(tokens.size()));
  const PrefixMatch match = FindFullPages(tokens, num_pages, salt);
  const int64_t num_fresh = std::min<int64_t>(num_pages - match.num_blocks, RoomAfter(match, 0));
  if (match.being_computed || match.num_blocks < num_known || num_fresh <= 0) return;
  table.salt = salt;
  table.index_epoch = epoch_;
  HoldMatch(table, match);
  for (int64_t i = 0; i < num_fresh; ++i) table.blocks.push_back(TakePage());
  if (IsIndexing(table)) Announce(table, tokens.first(table.blocks.size() * block_size()));
}

int64_t BlockManager::RoomAfter(const PrefixMatch& match, int num_fresh) const {
  const auto is_room = [this](BlockId block) { return pool_.is_cached(block) || pool_.is_yielding(block); };
  int64_t room = Room() - num_fresh;
  for (BlockId block = match.last; block != kNoBlock; block = index_.parent(block)) room -= is_room(block);
  if (match.overlap.num_tokens > 0) room -= is_room(match.overlap.block);
  return room;
}

void BlockManager::HoldMatch(BlockTable& table, const PrefixMatch& match) {
  table.blocks.resize(match.num_blocks);
  table.num_indexed_blocks = match.num_blocks;
  BlockId block = match.last;
  for (int i = match.num_blocks - 1; i >= 0; --i) {
    pool_.Hold(block);
    table.blocks[i] = block;
    block = index_.parent(block);
  }
  if (match.overlap.num_tokens > 0) pool_.Hold(match.overlap.block);
}

void BlockManager::Announce(const BlockTable& table, std::span<const TokenId> tokens) {
  const int num_full = static_cast<int>(tokens.size()) / block_size();
  for (int i = table.num_indexed_blocks; i < num_full; ++i) {
    const PageParent parent = ParentOf(table, i);
    const std::span<const TokenId> page = PageTokens(tokens, i);
    // Somebody else's: Commit will see what became of it.
    if (index_.Find(parent, page) != kNoBlock) return;
    index_.Insert(table.blocks[i], parent, page, PrefixIndex::State::kComputing);
  }
}

std::span<const TokenId> BlockManager::PageTokens(std::span<const TokenId> tokens, int i) const {
  const size_t begin = static_cast<size_t>(i) * block_size();
  return tokens.subspan(begin, std::min<size_t>(block_size(), tokens.size() - begin));
}

PageParent BlockManager::ParentOf(const BlockTable& table, int i) {
  return {i == 0 ? kNoBlock : table.blocks[i - 1], table.salt};
}

bool BlockManager::Grow(BlockTable& table, int num_computed, int num_tokens) {
  QUIRE_CHECK(0 <= num_computed && num_computed < num_tokens);
  const int num_blocks = static_cast<int>(table.blocks.size());
  const int num_wanted = BlocksFor(num_tokens);
  const int first_written = num_computed / block_size();
  QUIRE_CHECK(num_computed <= int64_t{num_blocks} * block_size());

  int num_fresh = std::max(0, num_wanted - num_blocks);
  for (int i = first_written; i < std::min(num_wanted, num_blocks); ++i) num_fresh += MustCopy(table.blocks[i]);
  if (num_fresh > Room()) return false;

  for (int i = first_written; i < std::min(num_wanted, num_blocks); ++i) {
    if (MustCopy(table.blocks[i])) ReplaceByCopy(table, i, std::max(0, num_computed - i * block_size()));
  }
  while (static_cast<int>(table.blocks.size()) < num_wanted) table.blocks.push_back(TakePage());
  return true;
}

bool BlockManager::MustCopy(BlockId block) const {
  if constexpr (kPlantedBug == PlantedBug::kSkippedCopyOnWrite) return false;
  return NumTablesHolding(block) > 1 || index_.IsComputed(block);
}

void BlockManager::ReplaceByCopy(BlockTable& table, int i, int num_tokens) {
  const BlockId shared = table.blocks[i];
  table.blocks[i] = TakePage();
  table.num_indexed_blocks = std::min(table.num_indexed_blocks, i);
  if (num_tokens > 0) {
    const BlockCopy* earlier = PendingCopyTo(shared);
    QUIRE_CHECK(earlier == nullptr || num_tokens <= earlier->num_tokens);
    const BlockId source = earlier != nullptr ? earlier->source : shared;
    pool_.Hold(source);
    AddCopy({source, table.blocks[i], num_tokens});
  }
  DropFromTable(shared);
}

void BlockManager::Commit(BlockTable& table, std::span<const TokenId> tokens, int num_computed) {
  QUIRE_CHECK(0 <= num_computed && num_computed <= static_cast<int64_t>(tokens.size()));
  if (!IsIndexing(table)) return;
  QUIRE_CHECK(num_computed <= static_cast<int64_t>(table.blocks.size()) * block_size());
  const int num_full = num_computed / block_size();
  while (table.num_indexed_blocks < num_full && CommitNextPage(table, tokens)) ++table.num_indexed_blocks;
}

// False if another sequence has announced the same tokens and not computed them yet.
bool BlockManager::CommitNextPage(BlockTable& table, std::span<const TokenId> tokens) {
  const int i = table.num_indexed_blocks;
  const BlockId own = table.blocks[i];
  const PageParent parent = ParentOf(table, i);
  const BlockId found = index_.Find(parent, PageTokens(tokens, i));
  if (found == kNoBlock) {
    index_.Insert(own, parent, PageTokens(tokens, i), PrefixIndex::State::kComputed);
    ForgetCoveredSibling(own);
  } else if (found != own) {
    if (index_.IsComputing(found)) return false;
    pool_.Hold(found);
    table.blocks[i] = found;
    DropFromTable(own);
  } else if (index_.IsComputing(own)) {
    index_.MarkComputed(own);
    ForgetCoveredSibling(own);
  }
  return true;
}

// What a page of a longer sequence holds too is of no more use: nobody will copy from the shorter one.
void BlockManager::ForgetCoveredSibling(BlockId block) {
  const BlockId covered = index_.FindCoveredSibling(block);
  if (covered != kNoBlock && !pool_.is_leased(covered)) ForgetSubtree(covered);
}

bool BlockManager::Slide(BlockTable& table, int num_kept, int num_dropped) {
  QUIRE_CHECK(0 <= num_kept && num_dropped > 0 && num_kept + num_dropped <= std::ssize(table.blocks));
  const auto kept = std::span(table.blocks).first(num_kept);
  const auto dropped = std::span(table.blocks).subspan(num_kept, num_dropped);
  // Whether the page is no room once the table has dropped it.
  const auto is_kept = [this](BlockId block) {
    return pool_.is_pinned(block) || pool_.refcount(block) > pool_.num_leases(block) + 1;
  };
  // Other pages of the first are room when their replacement was taken, and serve for the next.
  const int64_t num_fresh = std::max<int64_t>(std::ranges::count_if(kept, is_kept), num_kept > 0);
  const int64_t num_freed = num_dropped - std::ranges::count_if(dropped, is_kept);
  if (num_fresh > num_freed + Room()) return false;
  table.index_epoch = 0;
  table.num_indexed_blocks = 0;
  for (int i = num_kept + num_dropped - 1; i >= num_kept; --i) DropFromTable(table.blocks[i]);
  table.blocks.erase(table.blocks.begin() + num_kept, table.blocks.begin() + num_kept + num_dropped);
  for (int i = num_kept - 1; i >= 0; --i) {
    if (MustCopy(table.blocks[i])) ReplaceByCopy(table, i, /*num_tokens=*/0);
  }
  return true;
}

BlockTable BlockManager::Fork(const BlockTable& table) {
  for (BlockId block : table.blocks) pool_.Hold(block);
  return table;
}

void BlockManager::Release(BlockTable& table, std::span<const TokenId> tokens, int num_computed) {
  Commit(table, tokens, num_computed);
  KeepPartialPage(table, tokens.first(num_computed));
  if constexpr (kPlantedBug == PlantedBug::kSkippedDecref) {
    if (table.blocks.size() > 1) table.blocks.pop_back();
  }
  for (; !table.blocks.empty(); table.blocks.pop_back()) DropFromTable(table.blocks.back());
  table.num_indexed_blocks = 0;
}

void BlockManager::KeepPartialPage(const BlockTable& table, std::span<const TokenId> computed) {
  const int num_full = static_cast<int>(computed.size()) / block_size();
  const int num_tokens = static_cast<int>(computed.size()) % block_size();
  // Its parent must be in the index; and a page that is there already, beyond num_computed, holds more.
  if (!IsIndexing(table) || table.num_indexed_blocks != num_full || num_tokens == 0) return;
  const BlockId block = table.blocks[num_full];
  const BlockCopy* copy = PendingCopyTo(block);
  if (NumTablesHolding(block) > 1 || (copy != nullptr && num_tokens <= copy->num_tokens)) return;
  const PageParent parent = ParentOf(table, num_full);
  const std::span<const TokenId> page = PageTokens(computed, num_full);
  if (index_.FindOverlap(parent, page).num_tokens == num_tokens) return;
  if (index_.Contains(block)) ForgetSubtree(block);  // It was announced as a full page.
  index_.Insert(block, parent, page, PrefixIndex::State::kComputed);
  ForgetCoveredSibling(block);
}

void BlockManager::AddCopy(const BlockCopy& copy) {
  pending_copies_.push_back(copy);
  ++copies_from_[copy.source];
  awaits_copy_[copy.destination] = true;
}

void BlockManager::EndCopy(const BlockCopy& copy) {
  --copies_from_[copy.source];
  awaits_copy_[copy.destination] = false;
  Drop(copy.source);
}

const BlockCopy* BlockManager::PendingCopyTo(BlockId block) const {
  if (!awaits_copy_[block]) return nullptr;
  return &*std::ranges::find(pending_copies_, block, &BlockCopy::destination);
}

void BlockManager::FinishCopies() {
  for (const BlockCopy& copy : pending_copies_) EndCopy(copy);
  pending_copies_.clear();
}

void BlockManager::ClearCache() {
  if (epoch_ == 0) return;
  ++epoch_;
  while (leases_.size() > 0) EndLease(leases_.first_to_end()->lease.id);
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    if (index_.Contains(block)) ForgetSubtree(block);
  }
  index_.NoteCleared();
}

BlockId BlockManager::TakePage() {
  while (pool_.num_free() == 0) {
    if (pool_.num_cached() > 0) {
      ForgetSubtree(pool_.oldest_cached());
    } else {
      ShortenLease(leases_.weakest()->lease.id);
    }
  }
  return pool_.Take();
}

void BlockManager::DropFromTable(BlockId block) {
  // Without a table nobody will finish the computation that others wait for.
  if (NumTablesHolding(block) == 1 && index_.IsComputing(block)) ForgetSubtree(block);
  Drop(block);
  if (pool_.refcount(block) > 0) return;
  if (const BlockCopy* copy = PendingCopyTo(block)) {
    const BlockCopy withdrawn = *copy;
    pending_copies_.erase(pending_copies_.begin() + (copy - pending_copies_.data()));
    EndCopy(withdrawn);
  }
}

void BlockManager::Drop(BlockId block) {
  bool keep = false;
  if (pool_.refcount(block) == 1 && index_.Contains(block)) {
    const BlockId parent = index_.parent(block);
    keep = parent == kNoBlock || pool_.refcount(parent) > 0;
    // The page before it would be evicted first. Rare: a fork held the page, but had not yet exchanged the one before
    // it for that of the index.
    if (!keep) ForgetSubtree(block);
  }
  pool_.Drop(block, keep);
}

void BlockManager::ForgetSubtree(BlockId block) {
  BlockId leaf = block;
  for (;;) {
    while (index_.first_child(leaf) != kNoBlock) leaf = index_.first_child(leaf);
    const BlockId parent = index_.parent(leaf);
    index_.Remove(leaf);
    if (pool_.is_cached(leaf)) pool_.Discard(leaf);
    if (leaf == block) return;
    leaf = parent;
  }
}

int BlockManager::CountCached(std::span<const TokenId> tokens, uint64_t salt) const {
  return tokens.empty() ? 0 : NumCached(FindPrefix(tokens, salt));
}

int BlockManager::CountHeldAlone(const BlockTable& table) const {
  return static_cast<int>(std::count_if(table.blocks.begin(), table.blocks.end(),
                                        [this](BlockId block) { return pool_.refcount(block) == 1; }));
}

BlockCounts BlockManager::counts() const {
  return {pool_.num_blocks(), pool_.num_used(),   pool_.num_cached(), pool_.num_free(),
          pool_.num_shared(), pool_.num_leased(), pool_.num_pinned(), pool_.num_yielding()};
}

int BlockManager::BlocksFor(int64_t num_tokens) const {
  return static_cast<int>((num_tokens + block_size() - 1) / block_size());
}

void BlockManager::CheckInvariants(std::span<const BlockTable* const> tables) const {
  pool_.CheckInvariants();
  index_.CheckInvariants();

  std::vector<int> num_references(pool_.num_blocks(), 0);
  for (const BlockTable* table : tables) {
    CheckTable(*table);
    for (BlockId block : table->blocks) ++num_references[block];
  }
  CheckLeases(num_references);
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    QUIRE_CHECK(NumTablesHolding(block) == num_references[block]);
    QUIRE_CHECK(!index_.IsComputing(block) || num_references[block] > 0);
    QUIRE_CHECK(pool_.is_cached(block) == (pool_.refcount(block) == 0 && index_.Contains(block)));
  }

  std::vector<int> num_copies(pool_.num_blocks(), 0);
  for (const BlockCopy& copy : pending_copies_) {
    ++num_copies[copy.source];
    QUIRE_CHECK(pool_.refcount(copy.destination) > 0 && copies_from_[copy.destination] == 0);
    QUIRE_CHECK(awaits_copy_[copy.destination]);
    QUIRE_CHECK(copy.num_tokens >= 1 && copy.num_tokens < block_size());
  }
  QUIRE_CHECK(num_copies == copies_from_);
  QUIRE_CHECK(std::ranges::count(awaits_copy_, true) == std::ssize(pending_copies_));

  // Tails before heads: when a cached page comes up, the page it follows has not been passed yet.
  std::vector<bool> passed(pool_.num_blocks(), false);
  for (BlockId block = pool_.oldest_cached(); block != kNoBlock; block = pool_.next_cached(block)) {
    passed[block] = true;
    QUIRE_CHECK(index_.parent(block) == kNoBlock || !passed[index_.parent(block)]);
  }
}

void BlockManager::CheckTable(const BlockTable& table) const {
  for (BlockId block : table.blocks) QUIRE_CHECK(0 <= block && block < pool_.num_blocks());
  QUIRE_CHECK(0 <= table.num_indexed_blocks && table.num_indexed_blocks <= static_cast<int>(table.blocks.size()));
  if (!IsIndexing(table)) return;
  for (int i = 0; i < table.num_indexed_blocks; ++i) {
    QUIRE_CHECK(index_.IsComputed(table.blocks[i]));
    QUIRE_CHECK(index_.parent(table.blocks[i]) == ParentOf(table, i).block);
  }
}

}  // namespace quire
