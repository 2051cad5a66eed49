#include "engine/tiers/page_tiers.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/check.h"

namespace quire {
namespace {

constexpr int8_t kNotFetched = -1;
// Of the staging memory. Writes have all the time in the world; a fetch is waited for.
constexpr int kShareOfWrites = 4;
// A prompt is fetched at most this many times over, should its pages be evicted each time.
constexpr int kMostFetchesOfAPage = 2;

}  // namespace

PageTiers::PageTiers(TierOptions options, BlockManager& blocks, ModelRunner& runner)
    : options_(std::move(options)), blocks_(blocks), runner_(runner) {
  const int num_slots = options_.staging->num_pages();
  QUIRE_CHECK(num_slots >= TierOptions::kLeastStaging);
  for (int slot = num_slots - 1; slot >= 0; --slot) {
    const bool for_writes = slot < std::max(1, num_slots / kShareOfWrites);
    (for_writes ? free_for_writes_ : free_for_reads_).push_back(slot);
  }
  num_writers_.assign(num_slots, 0);
  const auto num_blocks = static_cast<size_t>(blocks_.counts().total);
  is_candidate_.assign(num_blocks, false);
  fetched_from_.assign(num_blocks, kNotFetched);
  blocks_.RecordComputed();
}

PageTiers::~PageTiers() {
  OnCompletions(nullptr);
  for (PageStore* store : options_.stores) {
    if (store != nullptr) store->Drain();
  }
  if (!loads_.empty()) runner_.TransfersDone(loads_.back().transfer).IgnoreError();
  for (Load& load : loads_) blocks_.Release(load.table, load.tokens, 0);
}

void PageTiers::OnCompletions(const std::function<void()>& wake) {
  for (PageStore* store : options_.stores) {
    if (store != nullptr) store->OnCompletions(wake);
  }
}

void PageTiers::BeginStep(absl::Time now) {
  CollectComputed();
  TakeCompletions();
  EndLoads();
  for (auto fetch = fetches_.begin(); fetch != fetches_.end();) {
    const auto next = std::next(fetch);
    if (fetch->num_reading == 0) StartLoad(fetch, now);
    fetch = next;
  }
  EndLoads();
}

void PageTiers::CollectComputed() {
  for (BlockId block : blocks_.TakeComputed()) {
    fetched_from_[block] = kNotFetched;
    if (is_candidate_[block]) continue;
    is_candidate_[block] = true;
    candidates_.push_back(block);
  }
}

void PageTiers::TakeCompletions() {
  for (PageStore* store : options_.stores) {
    if (store == nullptr) continue;
    for (const PageStore::Completion& completion : store->TakeCompletions()) {
      const auto operation = operations_.extract(completion.ticket);
      QUIRE_CHECK(!operation.empty());
      const Operation& ended = operation.mapped();
      if (ended.fetch == nullptr) {
        DropWrite(ended.slot);
      } else {
        EndRead(*ended.fetch, ended.page, completion.status);
      }
    }
  }
}

void PageTiers::DropWrite(int slot) {
  if (--num_writers_[slot] == 0) free_for_writes_.push_back(slot);
}

void PageTiers::EndRead(Fetch& fetch, int page, const absl::Status& status) {
  fetch.pages[page].intact = status.ok();
  --fetch.num_reading;
}

void PageTiers::Forget(const FetchedPage& page) {
  free_for_reads_.push_back(page.slot);
  on_their_way_.erase(page.record.key);
}

// Takes pages of the pool for those that were read, up to the first that could not be, and begins to fill them.
void PageTiers::StartLoad(std::list<Fetch>::iterator fetch, absl::Time now) {
  std::vector<FetchedPage>& pages = fetch->pages;
  const auto intact_end = std::ranges::find(pages, false, &FetchedPage::intact);
  const auto num_intact = static_cast<int>(intact_end - pages.begin());
  if (num_intact == std::ssize(pages) && pages.front().tier == pages.back().tier) {
    cost_.NoteFetch(pages.front().tier, num_intact, now - fetch->begun);
  }
  Load load;
  load.first_page = fetch->first_page;
  load.tokens = std::move(fetch->tokens);
  load.pages = std::move(pages);
  const uint64_t salt = fetch->salt;
  const int num_wanted = fetch->cleared ? 0 : num_intact;
  fetches_.erase(fetch);

  std::vector<PageTransfer> transfers;
  if (num_wanted > 0) {
    const auto tokens = std::span<const TokenId>(load.tokens).first((load.first_page + num_wanted) * blocks_.block_size());
    blocks_.AdmitLoad(load.table, tokens, salt, load.first_page);
    for (int i = load.table.num_indexed_blocks; i < std::ssize(load.table.blocks); ++i) {
      transfers.push_back({load.table.blocks[i], load.pages[i - load.first_page].slot});
    }
  }
  if (!transfers.empty()) {
    const absl::StatusOr<uint64_t> started = runner_.StartFromHost(transfers, *options_.staging);
    if (started.ok()) {
      load.transfer = *started;
      loads_.push_back(std::move(load));
      return;
    }
  }
  EndLoad(load, /*filled=*/false);
}

void PageTiers::EndLoads() {
  if (loads_.empty()) return;
  const absl::StatusOr<uint64_t> done = runner_.TransfersDone();
  while (!loads_.empty() && (!done.ok() || loads_.front().transfer <= *done)) {
    EndLoad(loads_.front(), /*filled=*/done.ok());
    loads_.pop_front();
  }
}

void PageTiers::EndLoad(Load& load, bool filled) {
  const int num_known = load.table.num_indexed_blocks;
  const std::vector<BlockId> blocks = load.table.blocks;
  const auto num_computed = filled ? static_cast<int>(blocks.size()) : num_known;
  blocks_.Release(load.table, load.tokens, num_computed * blocks_.block_size());
  CollectComputed();
  for (int i = num_known; i < num_computed; ++i) {
    fetched_from_[blocks[i]] = static_cast<int8_t>(load.pages[i - load.first_page].tier);
  }
  for (const FetchedPage& page : load.pages) Forget(page);
}

bool PageTiers::IsWanted(const PageRecord& page) const {
  return std::ranges::any_of(options_.stores, [&](const PageStore* store) {
    return store != nullptr && store->takes_pages() && !store->Contains(page.key);
  });
}

void PageTiers::StartSaving() {
  std::vector<PageTransfer> transfers;
  while (!candidates_.empty() && !free_for_writes_.empty()) {
    const BlockId block = candidates_.front();
    candidates_.pop_front();
    is_candidate_[block] = false;
    std::optional<PageRecord> page = blocks_.SharedPage(block);
    if (!page || !IsWanted(*page)) continue;
    const int slot = free_for_writes_.back();
    free_for_writes_.pop_back();
    transfers.push_back({block, slot});
    saving_.push_back({*std::move(page), slot});
  }
  if (transfers.empty()) return;
  const absl::StatusOr<uint64_t> started = runner_.StartToHost(transfers, *options_.staging);
  if (started.ok()) {
    saving_transfer_ = *started;
    return;
  }
  for (const Save& save : saving_) free_for_writes_.push_back(save.slot);
  saving_.clear();
}

void PageTiers::FinishSaving(bool idle) {
  uint64_t awaited = saving_.empty() ? 0 : saving_transfer_;
  if (idle && !loads_.empty()) awaited = std::max(awaited, loads_.front().transfer);
  if (awaited == 0) return;
  const bool copied = runner_.TransfersDone(awaited).ok();
  for (const Save& save : saving_) {
    ++num_writers_[save.slot];
    for (PageStore* store : options_.stores) {
      if (!copied || store == nullptr || store->Contains(save.record.key)) continue;
      if (!store->Write(save.record, options_.staging->page(save.slot), next_ticket_)) continue;
      operations_[next_ticket_++] = {.slot = save.slot};
      ++num_writers_[save.slot];
    }
    DropWrite(save.slot);
  }
  saving_.clear();
}

bool PageTiers::IsTooLong(absl::Time since, absl::Time now) const {
  return now < since || now - since > options_.max_wait;  // A clock may be set back.
}

bool PageTiers::StillPatient(TierWait& wait, absl::Time now) const {
  if (wait.since == absl::InfiniteFuture()) wait.since = now;
  wait.over = IsTooLong(wait.since, now);
  return !wait.over;
}

// The pages behind `prefix` that a tier has, in order, as far as staging has room.
std::vector<PageTiers::FetchedPage> PageTiers::FindChain(std::span<const TokenId> tokens, const SharedPrefix& prefix,
                                                         uint64_t salt) const {
  std::vector<FetchedPage> chain;
  const int block_size = blocks_.block_size();
  PageKey parent = prefix.key;
  for (auto rest = tokens.subspan(prefix.num_blocks * block_size);
       !rest.empty() && chain.size() < free_for_reads_.size(); rest = rest.subspan(block_size)) {
    const auto page = rest.first(block_size);
    const PageKey key = NextKey(parent, page);
    const std::optional<KvTier> tier = TierOf(key);
    if (!tier.has_value() || on_their_way_.contains(key)) break;
    const int slot = free_for_reads_[free_for_reads_.size() - 1 - chain.size()];
    chain.push_back({{key, parent, salt, {page.begin(), page.end()}},
                     *tier,
                     slot,
                     false});
    parent = key;
  }
  return chain;
}

bool PageTiers::Awaits(std::span<const TokenId> tokens, uint64_t salt, TierWait& wait, absl::Time now) {
  // Fetches end in the order in which they were begun, so the first tells whether a tier hangs.
  if (wait.over || (!fetches_.empty() && IsTooLong(fetches_.front().begun, now))) return false;
  const int block_size = blocks_.block_size();
  // Of all tokens at least one is computed anyway.
  const auto num_pages = static_cast<int>((tokens.size() - 1) / block_size);
  const SharedPrefix prefix = blocks_.FindShared(tokens, num_pages, salt);
  if (prefix.being_computed || prefix.num_blocks == num_pages || prefix.room < 0) return false;
  const auto next_page = tokens.subspan(prefix.num_blocks * block_size, block_size);
  if (on_their_way_.contains(NextKey(prefix.key, next_page))) return StillPatient(wait, now);

  const auto whole_pages = tokens.first(num_pages * block_size);
  std::vector<FetchedPage> chain = FindChain(whole_pages, prefix, salt);
  if (chain.empty()) {
    // Perhaps only because all staging memory is in use.
    return free_for_reads_.empty() && TierOf(NextKey(prefix.key, next_page)).has_value() && StillPatient(wait, now);
  }
  const auto chain_size = static_cast<int>(chain.size());
  std::array<int, kNumKvTiers> num_by_tier = {};
  for (const FetchedPage& page : chain) ++num_by_tier[static_cast<int>(page.tier)];
  wait.num_pages += chain_size;
  wait.over = wait.num_pages > kMostFetchesOfAPage * num_pages ||
              (options_.by_cost && !cost_.Pays(num_by_tier, chain_size * block_size));
  if (wait.over) return false;
  StartFetch(whole_pages.first((prefix.num_blocks + chain_size) * block_size), salt, prefix.num_blocks,
             std::move(chain), now);
  wait.since = now;
  return true;
}

void PageTiers::StartFetch(std::span<const TokenId> tokens, uint64_t salt, int first_page,
                           std::vector<FetchedPage> pages, absl::Time now) {
  Fetch& fetch = fetches_.emplace_back();
  fetch.tokens.assign(tokens.begin(), tokens.end());
  fetch.salt = salt;
  fetch.first_page = first_page;
  fetch.pages = std::move(pages);
  fetch.begun = now;
  free_for_reads_.resize(free_for_reads_.size() - fetch.pages.size());
  for (int i = 0; i < std::ssize(fetch.pages); ++i) {
    const FetchedPage& page = fetch.pages[i];
    on_their_way_.insert(page.record.key);
    QUIRE_CHECK(store(page.tier)->Read(page.record, options_.staging->page(page.slot), next_ticket_));
    operations_[next_ticket_++] = {.fetch = &fetch, .page = i};
    ++fetch.num_reading;
  }
}

std::optional<KvTier> PageTiers::TierOf(const PageKey& key) const {
  const auto found = std::ranges::find_if(options_.stores, [&](const PageStore* store) {
    return store != nullptr && store->Contains(key);
  });
  if (found == options_.stores.end()) return std::nullopt;
  return static_cast<KvTier>(found - options_.stores.begin());
}

TokensByTier PageTiers::CountBeyondPool(std::span<const TokenId> tokens, uint64_t salt) const {
  TokensByTier counts = {};
  if (tokens.empty()) return counts;
  const int block_size = blocks_.block_size();
  const auto num_pages = static_cast<int>((tokens.size() - 1) / block_size);
  const SharedPrefix prefix = blocks_.FindShared(tokens, num_pages, salt);
  PageKey key = prefix.key;
  for (int i = prefix.num_blocks; i < num_pages; ++i) {
    key = NextKey(key, tokens.subspan(static_cast<size_t>(i) * block_size, block_size));
    const std::optional<KvTier> tier = TierOf(key);
    if (!tier.has_value()) break;
    counts[static_cast<int>(*tier)] += block_size;
  }
  return counts;
}

TokensByTier PageTiers::TakeFetched(const BlockTable& table, int num_cached_tokens) {
  TokensByTier tokens = {};
  const int block_size = blocks_.block_size();
  for (int i = 0; i < num_cached_tokens / block_size; ++i) {
    int8_t& from = fetched_from_[table.blocks[i]];
    if (from == kNotFetched) continue;
    tokens[from] += block_size;
    from = kNotFetched;
  }
  return tokens;
}

bool PageTiers::HasWork() const {
  if (!loads_.empty()) return true;
  const bool may_save = !free_for_writes_.empty();
  if (blocks_.HasComputed() || (may_save && !candidates_.empty())) return true;
  return std::ranges::any_of(options_.stores,
                             [](const PageStore* store) { return store != nullptr && store->HasCompletions(); });
}

void PageTiers::Evict(const PageChoice& choice) {
  for (Fetch& fetch : fetches_) {
    const auto common = std::ranges::mismatch(choice.prefix, fetch.tokens).in1;
    if (fetch.salt == choice.salt && common == choice.prefix.end()) fetch.cleared = true;
  }
  for (PageStore* store : options_.stores) {
    if (store != nullptr) store->Evict(choice);
  }
}

void PageTiers::Clear() {
  for (Fetch& fetch : fetches_) fetch.cleared = true;
  for (PageStore* store : options_.stores) {
    if (store != nullptr) store->Clear();
  }
}

TierStats PageTiers::stats(KvTier tier) const { return store(tier) == nullptr ? TierStats{} : store(tier)->stats(); }

void PageTiers::AppendTables(std::vector<const BlockTable*>& tables) const {
  for (const Load& load : loads_) tables.push_back(&load.table);
}

void PageTiers::CheckInvariants() const {
  QUIRE_CHECK(saving_.empty());
  size_t num_slots = free_for_reads_.size() + free_for_writes_.size(), num_on_their_way = 0;
  for (const Fetch& fetch : fetches_) num_on_their_way += fetch.pages.size();
  for (const Load& load : loads_) num_on_their_way += load.pages.size();
  for (int writers : num_writers_) num_slots += writers > 0;
  QUIRE_CHECK(num_slots + num_on_their_way == num_writers_.size());
  QUIRE_CHECK(on_their_way_.size() == num_on_their_way);
  QUIRE_CHECK(std::ranges::count(is_candidate_, true) == std::ssize(candidates_));
  for (const PageStore* store : options_.stores) {
    if (store != nullptr) store->CheckInvariants();
  }
}

}  // namespace quire
