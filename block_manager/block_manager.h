// BlockManager: hands out the pages of one KV pool, shares equal prefixes, and decides what is evicted. Plain
// bookkeeping: it moves no data and never sees a request. Every operation is O(pages it touches).
//
// A page is in exactly one state:
//   free    nobody holds it and its contents mean nothing;
//   used    refcount >= 1: held by that many tables, leases and copies in flight;
//   cached  refcount 0, but in the prefix index: reusable by whoever has the same tokens, and evictable.
// free + used + cached = total, at all times. A page is written only by the one table that holds it, and never once it
// is indexed as computed.
//
// Prefix index: a page of tokens is found by a chained key over (salt, parent page, tokens) and confirmed by comparing
// parent and tokens exactly, so a hash collision costs time, never a wrong answer. Pages being computed are in the
// index too, so that a second sequence with the same prefix waits for them instead of computing them again. The index
// holds equal tokens once: whoever announced or committed them first has the page there, and whoever computes them too
// keeps a page of its own until that one is computed, then takes it instead; or puts its own into the index if the
// other gives up.
//
// Eviction takes the least recently used cached page. Tables are released tail first, and a page stays cached only
// while the page before it is held, so the oldest is always a tail.
//
// Leases hold pages of the index as a table without a sequence would, so that nothing evicts them. Pages that nobody
// else holds are taken from preferred leases when no free or cached one is left, from the end of the weakest lease on;
// that counts as room. Pinned leases give nothing up, and may hold max_pinned_blocks pages in all. What a page is worth
// is decided by its live leases alone.
//
// Threads: none of its own; the engine's thread calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "block_manager/block_pool.h"
#include "block_manager/block_table.h"
#include "block_manager/cached_prefix.h"
#include "block_manager/ids.h"
#include "block_manager/lease.h"
#include "block_manager/lease_book.h"
#include "block_manager/prefix_index.h"
#include "block_manager/tiers/page_record.h"

namespace quire {

struct BlockManagerOptions {
  int num_blocks = 0;
  int block_size = 32;  // Tokens a page.
  bool enable_prefix_caching = true;
  // Bits of the key that the index uses. Less than 64 only in tests, to provoke collisions.
  int key_bits = 64;
  int max_pinned_blocks = 0;  // Pages that pinned leases may hold in all; what is left must do for any one sequence.
  int max_leases = 1024;
};

// Contents to be copied before anything in the step is computed: the first num_tokens tokens of source.
struct BlockCopy {
  BlockId source = kNoBlock;
  BlockId destination = kNoBlock;
  int num_tokens = 0;
};

enum class AdmitOutcome {
  kAdmitted,
  kWaitForPrefix,  // Another sequence is computing pages that this one needs: ask again after the next step.
  kNoRoom,         // Not enough free and cached pages now.
};

struct Admission {
  AdmitOutcome outcome = AdmitOutcome::kNoRoom;
  int num_cached_tokens = 0;  // Leading tokens whose KV is there already; at most tokens.size() - 1.
};

struct AdmitOptions {
  uint64_t salt = 0;
  bool reuse = true;       // Look the tokens up; false computes all of them (prompt log-probabilities need that).
  int reserve_blocks = 0;  // Refuse unless this much room (see BlockCounts: free, cached, yielding) stays afterwards.
};

// What can be shared of a sequence's full pages.
struct SharedPrefix {
  int num_blocks = 0;
  PageKey key;                  // Of the last of them, or of the salt's root.
  bool being_computed = false;  // The page behind them is on its way.
  int64_t room = 0;             // Pages that would stay free or cached if the whole sequence were admitted.
};

struct BlockCounts {
  int64_t total = 0;
  int64_t used = 0;
  int64_t cached = 0;
  int64_t free = 0;
  int64_t shared = 0;    // Of the used ones, those held more than once,
  int64_t leased = 0;    // those that a lease holds,
  int64_t pinned = 0;    // of these, those that a pinned one does,
  int64_t yielding = 0;  // and those that nobody but preferred leases holds: they are given up where pages run out.
};

struct LeaseResult {
  LeaseOutcome outcome = LeaseOutcome::kNothingCached;
  Lease lease = {};  // Where kLeased.
};

class BlockManager {
 public:
  // REQUIRES: num_blocks >= 1, block_size >= 1.
  explicit BlockManager(const BlockManagerOptions& options);
  BlockManager(const BlockManager&) = delete;
  BlockManager& operator=(const BlockManager&) = delete;

  // Starts a sequence whose tokens are known: takes the longest cached prefix by reference, the part of a page beyond
  // it by copy-on-write, and fresh pages for the rest, so that `table` covers all of `tokens`. The fresh full pages are
  // announced as being computed. All or nothing: unless kAdmitted, `table` and the pool are unchanged.
  // REQUIRES: table is empty, tokens is not.
  Admission Admit(BlockTable& table, std::span<const TokenId> tokens, const AdmitOptions& options);

  // Makes tokens [num_computed, num_tokens) writable: adds pages at the end as needed, and replaces a shared page in
  // that range by a copy. False, and nothing changed, when pages run out.
  // REQUIRES: num_computed < num_tokens; the table has pages for the first num_computed tokens.
  bool Grow(BlockTable& table, int num_computed, int num_tokens);

  // The first num_computed of `tokens` have their KV in the table's pages: their full pages become shareable. A page
  // that the index already has with the same tokens replaces the table's own, which is given back.
  // REQUIRES: `tokens` goes on from those that the table was admitted with.
  void Commit(BlockTable& table, std::span<const TokenId> tokens, int num_computed);

  // Drops the num_dropped pages that follow the table's first num_kept, and makes those num_kept its own, to be written
  // anew from their first token on; the rest moves up. From then on nothing of the table enters the index. False, and
  // nothing changed, when pages run out, which cannot happen while no other table holds any page.
  // REQUIRES: the tokens of these pages are computed, and none of what the table announced is not.
  bool Slide(BlockTable& table, int num_kept, int num_dropped);

  // A second table over the same pages; whoever writes to a shared one first gets a copy (see Grow).
  BlockTable Fork(const BlockTable& table);

  // Ends a sequence, also one that is preempted or failed. Full and partly filled pages of the first num_computed
  // tokens stay cached, except for tokens that only a pending copy would bring. Announcements that were not kept are
  // withdrawn, and so are pending copies into pages that nobody holds any more.
  void Release(BlockTable& table, std::span<const TokenId> tokens, int num_computed);

  // Copies that Admit and Grow ask for since the last FinishCopies, valid until the next call. No page is the source of
  // one and the destination of another, so their order does not matter. Sources stay held until FinishCopies, to be
  // called when the step that performed the copies has completed. When a step is given up, release its sequences first,
  // so that no page is taken to hold what a copy did not bring.
  std::span<const BlockCopy> pending_copies() const { return pending_copies_; }
  void FinishCopies();

  // Forgets every cached page and ends every lease. Used pages leave the index and stay with their holders, whose pages
  // never enter it again.
  void ClearCache();

  // How many leading tokens of `tokens` Admit would find now. Changes nothing.
  int CountCached(std::span<const TokenId> tokens, uint64_t salt) const;

  // Keeps what is cached of `tokens`, up to a page that is covered in part, for options.owner, whose salt the prefix has.
  // Nothing is held unless kLeased. `limits` are the owner's.
  LeaseResult Pin(std::span<const TokenId> tokens, const LeaseOptions& options, const LeaseLimits& limits = {});
  // False if this owner has no such lease.
  bool Unpin(uint64_t owner, LeaseId id);
  // Ends all leases that expire at `now` or before.
  void EndLeases(int64_t now);
  int num_leases() const { return leases_.size(); }
  // nullptr if it has ended.
  const Lease* FindLease(LeaseId id) const;
  // Oldest first, and no more than that.
  std::vector<Lease> ListLeases(uint64_t owner, size_t max_leases) const { return leases_.List(owner, max_leases); }

  // Free pages that are cached, and that nobody holds; each returns how many. Of a prefix: all that begin with it, and
  // its own ones that nothing else follows.
  int EvictPrefix(std::span<const TokenId> tokens, uint64_t salt);
  int EvictOwner(uint64_t salt);
  int EvictAll();
  // What the index has under a salt: every sequence of pages that no longer one begins with, no more than that. O(pages).
  std::vector<CachedPrefix> ListPrefixes(uint64_t salt, size_t max_prefixes) const;

  // For mirrors of what can be shared. Nothing is recorded until RecordEvents is called; from then on events pile up
  // until they are taken. Applied to SharedPages of that moment, they give SharedPages of any later one.
  void RecordEvents() { index_.RecordEvents(); }
  std::vector<PageEvent> TakeEvents() { return index_.TakeEvents(); }
  std::vector<PageEvent> SharedPages() const { return index_.SharedPages(); }

  // For tiers, which keep pages outside the pool. Those that became shareable since the last call, each once; nothing
  // before RecordComputed was called.
  void RecordComputed() { index_.RecordComputed(); }
  bool HasComputed() const { return index_.HasComputed(); }
  std::vector<BlockId> TakeComputed() { return index_.TakeComputed(); }
  // Which page a block holds, if it can be shared.
  std::optional<PageRecord> SharedPage(BlockId block) const;
  // Looks for the first num_pages pages of `tokens`.
  SharedPrefix FindShared(std::span<const TokenId> tokens, int num_pages, uint64_t salt) const;
  // Starts to bring in what somebody else keeps of these tokens, a whole number of pages: takes what can be shared by
  // reference and, behind it, a fresh page for each as far as there is room, announced as being computed. Whoever fills
  // those, from table.num_indexed_blocks on, ends it with Release, which leaves them cached. Nothing is taken unless at
  // least num_known pages can be shared, and the next one is neither there nor being computed.
  // REQUIRES: table is empty.
  void AdmitLoad(BlockTable& table, std::span<const TokenId> tokens, uint64_t salt, int num_known);
  // Pages that only this table holds: what its Release would free.
  int CountHeldAlone(const BlockTable& table) const;

  BlockCounts counts() const;
  int block_size() const { return options_.block_size; }
  int max_pinned_blocks() const { return options_.max_pinned_blocks; }
  bool caching() const { return epoch_ != 0; }
  // Number of pages that num_tokens tokens need.
  int BlocksFor(int64_t num_tokens) const;

  // QUIRE_CHECKs that the states, refcounts, index, lists and leases agree with each other and with `tables`, which must
  // be all that are alive. O(pool).
  void CheckInvariants(std::span<const BlockTable* const> tables) const;

 private:
  // What the index has for a sequence: its first full pages, up to `last`, and the beginning of the next one.
  struct PrefixMatch {
    int num_blocks = 0;
    BlockId last = kNoBlock;
    PageOverlap overlap;
    bool being_computed = false;  // The page after those is being computed by another sequence.
  };

  PrefixMatch FindPrefix(std::span<const TokenId> tokens, uint64_t salt) const;
  // Its first num_pages pages at most, and nothing of a page.
  PrefixMatch FindFullPages(std::span<const TokenId> tokens, int num_pages, uint64_t salt) const;
  int NumCached(const PrefixMatch& match) const { return match.num_blocks * block_size() + match.overlap.num_tokens; }
  // Pages computed for all of `tokens`, the last one included.
  PrefixMatch FindComputed(std::span<const TokenId> tokens, uint64_t salt) const;
  // Pages that can be had: free, cached or yielding.
  int64_t Room() const { return int64_t{pool_.num_free()} + pool_.num_cached() + pool_.num_yielding(); }
  // The same once the match is taken and num_fresh pages are.
  int64_t RoomAfter(const PrefixMatch& match, int num_fresh) const;
  void HoldMatch(BlockTable& table, const PrefixMatch& match);
  void Announce(const BlockTable& table, std::span<const TokenId> tokens);

  bool IsIndexing(const BlockTable& table) const { return epoch_ != 0 && table.index_epoch == epoch_; }
  // Tokens of a table's i-th page, as many as there are, and what that page follows.
  std::span<const TokenId> PageTokens(std::span<const TokenId> tokens, int i) const;
  static PageParent ParentOf(const BlockTable& table, int i);

  bool CommitNextPage(BlockTable& table, std::span<const TokenId> tokens);
  void KeepPartialPage(const BlockTable& table, std::span<const TokenId> computed);
  void ForgetCoveredSibling(BlockId block);

  bool MustCopy(BlockId block) const;
  void ReplaceByCopy(BlockTable& table, int i, int num_tokens);
  // The caller's reference on the source becomes the copy's.
  void AddCopy(const BlockCopy& copy);
  void EndCopy(const BlockCopy& copy);
  // The copy into a page, or nullptr. Until it is done, the tokens that it brings are not there.
  const BlockCopy* PendingCopyTo(BlockId block) const;

  // Leases count as tables.
  int NumTablesHolding(BlockId block) const { return pool_.refcount(block) - copies_from_[block]; }
  // A fresh page, evicting one if none is free. REQUIRES: Room() >= 1.
  BlockId TakePage();
  void DropFromTable(BlockId block);
  void Drop(BlockId block);
  // Takes a page and all that follow it out of the index; the cached ones become free.
  void ForgetSubtree(BlockId block);
  void CheckTable(const BlockTable& table) const;

  void EndLease(LeaseId id);
  // Takes the last page from a lease.
  void ShortenLease(LeaseId id);
  int EvictSubtrees(std::vector<BlockId> roots);
  // Adds what leases hold to num_references.
  void CheckLeases(std::vector<int>& num_references) const;

  const BlockManagerOptions options_;
  BlockPool pool_;
  PrefixIndex index_;
  LeaseBook leases_;
  std::vector<BlockCopy> pending_copies_;
  std::vector<int> copies_from_;   // [num_blocks] Pending copies with this source; each holds a reference.
  std::vector<bool> awaits_copy_;  // [num_blocks] Whether a pending copy has this destination.
  uint64_t epoch_;                 // Of the tables whose pages go into the index now; 0 without prefix caching.
};

}  // namespace quire
