// PageTiers: moves KV pages between the pool and the tiers outside it, the host's memory and a file.
//
// Out: a full page never changes once it can be shared, so it is written when that happens, not when it is evicted. Its
// bytes are copied to staging memory beside a step and written from there; where there is no room to stage, the page
// waits for its turn as long as the pool has it. Eviction thus costs nothing, and a crash loses the latest pages only.
//
// In: a fetch fills the cache and nothing else. When a waiting sequence's prefix goes on in a tier, the pages are read
// into staging memory, checked, copied to pages of the pool, and become shareable; the sequence, which waited as if
// another computed them, then finds them there like any others. A sequence waits for a bounded time and for a bounded
// number of pages; then it computes. A preempted sequence comes back the same way, where that is cheaper.
//
// Threads: none of its own; the engine's thread calls it, and the stores have theirs.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "block_manager/block_manager.h"
#include "block_manager/tiers/page_store.h"
#include "engine/runner/model_runner.h"
#include "engine/tiers/fetch_cost.h"
#include "engine/tiers/tier_wait.h"

namespace quire {

// What an engine needs for tiers; without staging it has none.
struct TierOptions {
  std::array<PageStore*, kNumKvTiers> stores = {};  // By KvTier; null: there is no such tier. They outlive the engine.
  std::unique_ptr<HostPages> staging;               // From the engine's runner; at least kLeastStaging pages.
  absl::Duration max_wait = absl::Seconds(2);       // That a sequence waits for one fetch.
  bool by_cost = true;                              // Fetch only where that is faster than to compute.

  static constexpr int kLeastStaging = 2;
};

// Tokens by where their pages were fetched from.
using TokensByTier = std::array<int, kNumKvTiers>;

class PageTiers {
 public:
  // `blocks` and `runner` outlive this. REQUIRES: a store, and staging.
  PageTiers(TierOptions options, BlockManager& blocks, ModelRunner& runner);
  // Waits until the stores are done with the staging memory.
  ~PageTiers();

  // A step calls these in this order. First: what was completed since the last step, until pages are in the pool.
  void BeginStep(absl::Time now);
  // Once the step is planned, and nothing that it plans writes to shareable pages: begins to copy such pages out.
  void StartSaving();
  // Once the step has run: gives the stores what was copied. With `idle`, when no step ran, also waits for pages on
  // their way in, which nobody else will.
  void FinishSaving(bool idle);
  void NoteStep(int num_tokens, absl::Duration took) { cost_.NoteStep(num_tokens, took); }

  // Whether a sequence with these tokens, which would be admitted now, should rather wait until a fetch has ended. May
  // begin one. `wait` is the sequence's, and new for each admission.
  bool Awaits(std::span<const TokenId> tokens, uint64_t salt, TierWait& wait, absl::Time now);
  // A sequence was admitted with these leading tokens cached: how many of them were fetched and nobody has had yet.
  TokensByTier TakeFetched(const BlockTable& table, int num_cached_tokens);

  // How many tokens the tiers have behind those that the pool can share: what Awaits might fetch.
  TokensByTier CountBeyondPool(std::span<const TokenId> tokens, uint64_t salt) const;

  // Whether BeginStep or StartSaving has something to do.
  bool HasWork() const;
  // Whether a fetch is on its way whose end wakes whoever is asked for by OnCompletions.
  bool IsFetching() const { return !fetches_.empty(); }
  // See PageStore.
  void OnCompletions(const std::function<void()>& wake);
  // The tiers forget what is chosen, and
  void Evict(const PageChoice& choice);
  // everything.
  void Clear();

  TierStats stats(KvTier tier) const;
  // Of pages on their way in. They are held by these tables.
  void AppendTables(std::vector<const BlockTable*>& tables) const;
  void CheckInvariants() const;

 private:
  struct FetchedPage {
    PageRecord record;
    KvTier tier = KvTier::kHost;
    int slot = 0;  // Of the staging memory.
    bool intact = false;
  };
  struct Fetch {
    std::vector<TokenId> tokens;  // Whole pages, from the beginning of the sequence.
    uint64_t salt = 0;
    int first_page = 0;
    std::vector<FetchedPage> pages;  // From that one on.
    int num_reading = 0;
    absl::Time begun;
    bool cleared = false;  // Nobody wants it any more.
  };
  // Pages on their way from the staging memory into the pool.
  struct Load {
    std::vector<TokenId> tokens;
    BlockTable table;
    uint64_t transfer = 0;
    int first_page = 0;
    std::vector<FetchedPage> pages;  // From that one on.
  };
  // A page on its way out. Its slot is free again when no store writes from it.
  struct Save {
    PageRecord record;
    int slot = 0;
  };
  // What a store's ticket is about.
  struct Operation {
    Fetch* fetch = nullptr;  // Null: a write from
    int slot = 0;            // this slot;
    int page = 0;            // else this page of the fetch.
  };

  PageStore* store(KvTier tier) const { return options_.stores[static_cast<int>(tier)]; }
  void TakeCompletions();
  void EndRead(Fetch& fetch, int page, const absl::Status& status);
  void StartLoad(std::list<Fetch>::iterator fetch, absl::Time now);
  void EndLoads();
  void EndLoad(Load& load, bool filled);
  void CollectComputed();
  // The fetched page's key is on its way no more, and its slot is free.
  void Forget(const FetchedPage& page);
  bool IsWanted(const PageRecord& page) const;
  std::optional<KvTier> TierOf(const PageKey& key) const;
  bool IsTooLong(absl::Time since, absl::Time now) const;
  bool StillPatient(TierWait& wait, absl::Time now) const;
  std::vector<FetchedPage> FindChain(std::span<const TokenId> tokens, const SharedPrefix& prefix, uint64_t salt) const;
  void StartFetch(std::span<const TokenId> tokens, uint64_t salt, int first_page, std::vector<FetchedPage> pages,
                  absl::Time now);
  void DropWrite(int slot);

  const TierOptions options_;
  BlockManager& blocks_;
  ModelRunner& runner_;
  FetchCost cost_;

  std::vector<int> free_for_reads_;   // Slots of the staging memory,
  std::vector<int> free_for_writes_;  // which takes its share of them only.
  std::vector<int> num_writers_;      // [slots] Stores that write from it.

  std::deque<BlockId> candidates_;        // Became shareable and were not saved since; may be out of date.
  std::vector<bool> is_candidate_;        // [num_blocks]
  std::vector<Save> saving_;              // In this step.
  uint64_t saving_transfer_ = 0;

  std::list<Fetch> fetches_;
  std::list<Load> loads_;  // In the order of their transfers.
  absl::flat_hash_set<PageKey> on_their_way_;  // Pages of both. No page comes twice.
  std::vector<int8_t> fetched_from_;           // [num_blocks] KvTier of a page that nobody has had yet, or -1.

  absl::flat_hash_map<PageStore::Ticket, Operation> operations_;
  PageStore::Ticket next_ticket_ = 1;
};

}  // namespace quire
