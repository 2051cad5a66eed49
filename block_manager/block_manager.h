// BlockManager: hands out the pages of one KV pool, shares equal prefixes, and decides what is evicted. Plain bookkeeping:
// it moves no data and never sees a request. Every operation is O(pages it touches).
//
// A page is in exactly one state:
//   free    nobody holds it and its contents mean nothing;
//   used    refcount >= 1: held by that many tables and copies in flight;
//   cached  refcount 0, but in the prefix index: reusable by whoever has the same tokens, and evictable.
// free + used + cached = total, at all times. A page is written only by its one holder (refcount 1, not indexed as computed).
//
// Prefix index: a page of tokens is found by a chained key over (salt, parent page, tokens) and confirmed by comparing parent
// and tokens exactly, so a hash collision costs time, never a wrong answer. Pages being computed are in the index too, so that
// a second sequence with the same prefix waits for them instead of computing them again.
//
// Threads: none of its own; the engine's thread calls it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "block_manager/block_table.h"
#include "block_manager/ids.h"

namespace quire {

struct BlockManagerOptions {
  int num_blocks = 0;
  int block_size = 32;  // Tokens a page.
  bool enable_prefix_caching = true;
  // Bits of the key that the index uses. Less than 64 only in tests, to provoke collisions.
  int key_bits = 64;
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
  bool reuse = true;        // Look the tokens up; false computes all of them (prompt log-probabilities need that).
  int reserve_blocks = 0;   // Refuse unless this many pages stay free or cached afterwards.
};

struct BlockCounts {
  int64_t total = 0;
  int64_t used = 0;
  int64_t cached = 0;
  int64_t free = 0;
};

class BlockManager {
 public:
  // REQUIRES: num_blocks >= 1, block_size >= 1.
  explicit BlockManager(const BlockManagerOptions& options);
  ~BlockManager();
  BlockManager(const BlockManager&) = delete;
  BlockManager& operator=(const BlockManager&) = delete;

  // Starts a sequence whose tokens are known: takes the longest cached prefix by reference, the part of a page beyond it by
  // copy-on-write, and fresh pages for the rest, so that `table` covers all of `tokens`. The fresh full pages are announced as
  // being computed. All or nothing: unless kAdmitted, `table` and the pool are unchanged.
  // REQUIRES: table is empty, tokens is not.
  Admission Admit(BlockTable& table, std::span<const TokenId> tokens, const AdmitOptions& options);

  // Makes tokens [num_computed, num_tokens) writable: adds pages at the end as needed, and replaces a shared page in that
  // range by a copy. False, and nothing changed, when pages run out.
  bool Grow(BlockTable& table, int num_computed, int num_tokens);

  // The first num_computed of `tokens` have their KV in the table's pages: their full pages become shareable. A page that the
  // index already has with the same tokens replaces the table's own, which is given back.
  void Commit(BlockTable& table, std::span<const TokenId> tokens, int num_computed);

  // A second table over the same pages; whoever writes to a shared one first gets a copy (see Grow).
  BlockTable Fork(const BlockTable& table);

  // Ends a sequence, also one that is preempted or failed. Full and partly filled pages of the first num_computed tokens stay
  // cached, tails being evicted before heads; announcements that were not kept are withdrawn.
  void Release(BlockTable& table, std::span<const TokenId> tokens, int num_computed);

  // Copies that Admit and Grow ask for since the last FinishCopies, in order. Their sources stay held until FinishCopies,
  // to be called when the step that performed the copies has completed (or was given up).
  std::span<const BlockCopy> pending_copies() const;
  void FinishCopies();

  // Forgets every cached page; used ones leave the index and stay with their holders.
  void ClearCache();

  // How many leading tokens of `tokens` Admit would find now. Changes nothing.
  int CountCached(std::span<const TokenId> tokens, uint64_t salt) const;

  BlockCounts counts() const;
  int block_size() const;
  // Number of pages that num_tokens tokens need.
  int BlocksFor(int64_t num_tokens) const;

  // QUIRE_CHECKs that the states, refcounts, index and lists agree with each other and with `tables`, which must be all that
  // are alive. O(pool).
  void CheckInvariants(std::span<const BlockTable* const> tables) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire
