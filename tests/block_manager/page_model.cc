#include "tests/block_manager/page_model.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <vector>

#include "block_manager/block_manager.h"
#include "tests/block_manager/page_mirror.h"

namespace quire {
namespace {

struct Sequence {
  std::vector<TokenId> tokens;
  uint64_t salt = 0;
  bool reuse = true;
  int final_length = 0;

  bool running = false;
  BlockTable table;
  int num_computed = 0;
  int num_scheduled = 0;
};

// What the history knows of a lease that nobody has ended.
struct Held {
  std::vector<TokenId> tokens;
  Lease lease;
};

class History {
 public:
  explicit History(uint64_t seed) : random_(seed), options_(RandomOptions()), manager_(options_) {
    pages_.assign(options_.num_blocks, std::vector<uint64_t>(options_.block_size, 0));
  }

  std::string Run(int num_steps) {
    for (step_ = 0; step_ < num_steps && error_.empty(); ++step_) Step();
    while (!sequences_.empty() && error_.empty()) Stop(*sequences_.back()), sequences_.pop_back();
    while (!held_.empty() && error_.empty()) Unpin(held_.begin()->first);
    const BlockCounts counts = manager_.counts();
    Expect(counts.used == 0, "pages are in use when nobody is left");
    manager_.ClearCache();
    Expect(manager_.counts().free == counts.total, "pages are not free when nobody is left and the cache is cleared");
    return error_;
  }

 private:
  int Draw(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }
  bool OneIn(int n) { return Draw(n) == 0; }

  BlockManagerOptions RandomOptions() {
    constexpr int kBlockSizes[] = {1, 2, 3, 4, 8, 16, 32};
    constexpr int kKeyBits[] = {1, 4, 64};
    BlockManagerOptions options;
    options.num_blocks = 2 + Draw(63);
    options.block_size = kBlockSizes[Draw(7)];
    options.enable_prefix_caching = !OneIn(8);
    options.key_bits = kKeyBits[Draw(3)];
    options.max_pinned_blocks = OneIn(2) ? Draw(options.num_blocks) : 0;
    options.max_leases = 1 + Draw(12);
    return options;
  }

  void Expect(bool condition, const char* what) {
    if (condition || !error_.empty()) return;
    std::ostringstream text;
    text << "step " << step_ << ", " << options_.num_blocks << " pages of " << options_.block_size << ", caching "
         << options_.enable_prefix_caching << ", key bits " << options_.key_bits << ": " << what;
    error_ = text.str();
  }

  void CheckInvariants() {
    std::vector<const BlockTable*> tables;
    for (const auto& sequence : sequences_) {
      if (sequence->running) tables.push_back(&sequence->table);
    }
    manager_.CheckInvariants(tables);
    const BlockCounts counts = manager_.counts();
    Expect(counts.free + counts.used + counts.cached == counts.total, "pages do not add up");
  }

  void Step() {
    if (sequences_.size() < 12 && OneIn(2)) Arrive();
    if (OneIn(64)) manager_.ClearCache(), held_.clear(), CheckInvariants();
    if (OneIn(3)) DisturbLeases();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (!sequences_[i]->running) Admit(*sequences_[i]);
    }
    if (OneIn(4)) ForkSome();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (sequences_[i]->running && !OneIn(4)) Schedule(*sequences_[i]);
    }
    if (OneIn(8) && !sequences_.empty()) Cancel(Draw(static_cast<int>(sequences_.size())));
    if (OneIn(16)) {
      GiveUpStep();
    } else {
      RunStep();
    }
    FollowEvents();
    CheckLeases();
  }

  // Leases are taken, given back, and end in time; parts of the cache are given up.
  void DisturbLeases() {
    manager_.EndLeases(step_);
    std::erase_if(held_, [this](const auto& entry) { return entry.second.lease.options.expires <= step_; });
    if (!sequences_.empty() && OneIn(2)) Pin(sequences_[Draw(static_cast<int>(sequences_.size()))]->tokens);
    if (!past_.empty() && OneIn(2)) Pin(past_[Draw(static_cast<int>(past_.size()))]);
    if (!held_.empty() && OneIn(3)) Unpin(std::next(held_.begin(), Draw(static_cast<int>(held_.size())))->first);
    if (!past_.empty() && OneIn(4)) Evict();
    CheckInvariants();
    CheckLeases();
  }

  void Pin(const std::vector<TokenId>& tokens) {
    LeaseOptions options;
    options.owner = OneIn(4);
    options.kind = OneIn(2) ? LeaseKind::kPinned : LeaseKind::kPreferred;
    options.or_preferred = OneIn(2);
    options.priority = Draw(3);
    if (OneIn(2)) options.expires = step_ + Draw(30);
    const LeaseResult result = manager_.Pin(tokens, options);
    if (result.outcome != LeaseOutcome::kLeased) return;
    Expect(result.lease.num_tokens <= static_cast<int>(tokens.size()), "a lease keeps more than was asked for");
    held_[result.lease.id] = {tokens, result.lease};
  }

  void Unpin(LeaseId id) {
    const uint64_t owner = held_[id].lease.options.owner;
    Expect(!manager_.Unpin(owner + 1, id), "a stranger ended a lease");
    // One that gave everything up has ended by itself.
    const bool lives = manager_.FindLease(id) != nullptr;
    Expect(manager_.Unpin(owner, id) == lives, "a lease could not be ended");
    held_.erase(id);
    CheckInvariants();
  }

  void Evict() {
    const int num_cached = static_cast<int>(manager_.counts().cached);
    const int64_t num_used = manager_.counts().used;
    int num_evicted = 0;
    if (OneIn(3)) {
      num_evicted = manager_.EvictAll();
      Expect(manager_.counts().cached == 0, "something is cached after all was evicted");
    } else if (OneIn(2)) {
      num_evicted = manager_.EvictOwner(OneIn(2));
    } else {
      num_evicted = manager_.EvictPrefix(past_[Draw(static_cast<int>(past_.size()))], OneIn(2));
    }
    Expect(manager_.counts().cached == num_cached - num_evicted, "another number was evicted than is said");
    Expect(manager_.counts().used == num_used, "pages were evicted that somebody holds");
  }

  // What a lease keeps can be used; a pinned one keeps all of it.
  void CheckLeases() {
    for (auto& [id, held] : held_) {
      const Lease* lease = manager_.FindLease(id);
      const int num_tokens = lease == nullptr ? 0 : lease->num_tokens;
      Expect(num_tokens <= held.lease.num_tokens, "a lease grew");
      const bool pinned = held.lease.options.kind == LeaseKind::kPinned;
      Expect(!pinned || num_tokens == held.lease.num_tokens, "a pinned lease gave something up");
      held.lease.num_tokens = num_tokens;
      std::vector<TokenId> tokens(held.tokens.begin(), held.tokens.begin() + num_tokens);
      tokens.push_back(0);
      const int full = num_tokens / options_.block_size * options_.block_size;
      Expect(manager_.CountCached(tokens, held.lease.options.owner) >= full, "what a lease keeps is not found");
    }
    std::erase_if(held_, [](const auto& entry) { return entry.second.lease.num_tokens == 0; });
  }

  // What a reader that came at some step knows of the index.
  void FollowEvents() {
    if (!mirror_) {
      if (!OneIn(8)) return;
      Expect(manager_.TakeEvents().empty(), "events were recorded that nobody asked for");
      mirror_.emplace(manager_.SharedPages());
      manager_.RecordEvents();
    }
    mirror_->Apply(manager_.TakeEvents());
    Expect(mirror_->error().empty(), mirror_->error().c_str());
    Expect(*mirror_ == PageMirror(manager_.SharedPages()), "the events do not tell which pages can be shared");
  }

  // Few distinct tokens, and beginnings of what was there before, so that prefixes meet.
  void Arrive() {
    const int longest = (options_.num_blocks - options_.max_pinned_blocks) * options_.block_size;
    auto sequence = std::make_unique<Sequence>();
    if (!past_.empty()) sequence->tokens = past_[Draw(static_cast<int>(past_.size()))];
    sequence->tokens.resize(Draw(static_cast<int>(sequence->tokens.size()) + 1));
    const int num_new = Draw(std::min(longest, 3 * options_.block_size) + 1);
    for (int i = 0; i < num_new; ++i) sequence->tokens.push_back(Draw(3));
    if (sequence->tokens.empty()) sequence->tokens.push_back(Draw(3));
    sequence->tokens.resize(std::min<size_t>(sequence->tokens.size(), longest));
    sequence->salt = OneIn(4);
    sequence->reuse = !OneIn(8);
    sequence->final_length =
        std::min(longest, static_cast<int>(sequence->tokens.size()) + 1 + Draw(2 * options_.block_size));
    sequences_.push_back(std::move(sequence));
  }

  void Admit(Sequence& sequence) {
    const bool alone = std::ranges::none_of(sequences_, [](const auto& other) { return other->running; });
    const int reserve = alone ? 0 : Draw(2);
    const BlockCounts before = manager_.counts();
    const int num_cached = manager_.CountCached(sequence.tokens, sequence.salt);
    const Admission admission = manager_.Admit(
        sequence.table, sequence.tokens, {.salt = sequence.salt, .reuse = sequence.reuse, .reserve_blocks = reserve});
    const BlockCounts after = manager_.counts();
    sequence.running = admission.outcome == AdmitOutcome::kAdmitted;
    CheckInvariants();
    if (sequence.running) {
      sequence.num_computed = admission.num_cached_tokens;
      const int num_tokens = static_cast<int>(sequence.tokens.size());
      Expect(sequence.num_computed < num_tokens, "no token is left to compute");
      Expect(sequence.num_computed <= num_cached, "more is cached than CountCached finds");
      Expect(sequence.reuse || sequence.num_computed == 0, "something was reused where nothing may be");
      Expect(after.free + after.cached + after.yielding >= reserve, "the reserve was not kept");
      Expect(static_cast<int>(sequence.table.blocks.size()) == manager_.BlocksFor(num_tokens), "pages are missing");
    } else {
      Expect(!alone, "what fits an empty pool was not admitted to one that nobody uses");
      Expect(sequence.table.blocks.empty() && before.used == after.used && before.cached == after.cached,
             "a refusal changed something");
    }
  }

  void ForkSome() {
    const size_t num_sequences = sequences_.size();
    for (size_t i = 0; i < num_sequences; ++i) {
      if (!sequences_[i]->running || !OneIn(3)) continue;
      auto fork = std::make_unique<Sequence>(*sequences_[i]);
      fork->table = manager_.Fork(sequences_[i]->table);
      sequences_.push_back(std::move(fork));
      CheckInvariants();
    }
  }

  void Schedule(Sequence& sequence) {
    const int num_uncomputed = static_cast<int>(sequence.tokens.size()) - sequence.num_computed;
    const int num_tokens = 1 + Draw(num_uncomputed);
    while (!manager_.Grow(sequence.table, sequence.num_computed, sequence.num_computed + num_tokens)) {
      CheckInvariants();
      Sequence* victim = &sequence;
      for (const auto& other : sequences_) {
        if (other->running && other.get() != &sequence && OneIn(2)) victim = other.get();
      }
      Stop(*victim);
      if (victim == &sequence) return;
    }
    sequence.num_scheduled = num_tokens;
    CheckInvariants();
  }

  void Stop(Sequence& sequence) {
    if (!sequence.running) return;
    sequence.running = false;
    sequence.num_scheduled = 0;
    manager_.Release(sequence.table, sequence.tokens, sequence.num_computed);
    sequence.num_computed = 0;
    CheckInvariants();
  }

  void Cancel(size_t i) {
    Stop(*sequences_[i]);
    past_.push_back(sequences_[i]->tokens);
    if (past_.size() > 16) past_.erase(past_.begin());
    sequences_.erase(sequences_.begin() + i);
  }

  void GiveUpStep() {
    for (const auto& sequence : sequences_) {
      const bool waits_for_copy = std::ranges::any_of(manager_.pending_copies(), [&](const BlockCopy& copy) {
        return std::ranges::count(sequence->table.blocks, copy.destination) > 0;
      });
      if (sequence->num_scheduled > 0 || waits_for_copy) Stop(*sequence);
    }
    manager_.FinishCopies();
    CheckInvariants();
  }

  void RunStep() {
    std::vector<BlockCopy> copies(manager_.pending_copies().begin(), manager_.pending_copies().end());
    std::shuffle(copies.begin(), copies.end(), random_);
    for (const BlockCopy& copy : copies) {
      std::copy_n(pages_[copy.source].begin(), copy.num_tokens, pages_[copy.destination].begin());
    }
    for (const auto& sequence : sequences_) {
      if (sequence->running) Compute(*sequence);
    }
    const bool finish_first = OneIn(2);
    if (finish_first) manager_.FinishCopies();
    for (size_t i = sequences_.size(); i-- > 0;) {
      if (sequences_[i]->num_scheduled > 0) Finish(i);
    }
    if (!finish_first) manager_.FinishCopies();
    CheckInvariants();
  }

  // Reads everything that the sequence relies on, and writes what it computes.
  void Compute(const Sequence& sequence) {
    uint64_t digest = sequence.salt + 1;
    for (int i = 0; i < sequence.num_computed + sequence.num_scheduled; ++i) {
      digest = (digest ^ static_cast<uint64_t>(sequence.tokens[i] + 1)) * 0x9E3779B97F4A7C15u;
      digest ^= digest >> 29;
      uint64_t& place = pages_[sequence.table.blocks[i / options_.block_size]][i % options_.block_size];
      if (i >= sequence.num_computed) place = digest;
      Expect(place == digest, "a page holds something else than its sequence relies on");
    }
  }

  void Finish(size_t i) {
    Sequence& sequence = *sequences_[i];
    sequence.num_computed += sequence.num_scheduled;
    sequence.num_scheduled = 0;
    manager_.Commit(sequence.table, sequence.tokens, sequence.num_computed);
    CheckInvariants();
    if (sequence.num_computed < static_cast<int>(sequence.tokens.size())) return;
    if (sequence.num_computed == sequence.final_length) return Cancel(i);
    sequence.tokens.push_back(Draw(3));
  }

  std::mt19937_64 random_;
  BlockManagerOptions options_;
  BlockManager manager_;
  std::vector<std::vector<uint64_t>> pages_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<std::vector<TokenId>> past_;
  std::map<LeaseId, Held> held_;
  std::optional<PageMirror> mirror_;
  int step_ = 0;
  std::string error_;
};

}  // namespace

std::string RunRandomHistory(uint64_t seed, int num_steps) { return History(seed).Run(num_steps); }

}  // namespace quire
