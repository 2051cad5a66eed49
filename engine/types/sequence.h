// What the engine keeps of a request while it lives, and the sequences that its samples grow into. Shared by the
// engine, the scheduler and the batch builder; all of it belongs to the engine's thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "absl/time/time.h"
#include "block_manager/block_table.h"
#include "engine/tiers/fetch_cost.h"
#include "engine/tiers/tier_wait.h"
#include "engine/types/generate_request.h"
#include "engine/types/step_output.h"

namespace quire {

struct Sequence;
struct TenantAccount;  // See FairQueue.

struct RequestState {
  RequestId id = 0;
  SamplingParams sampling;  // max_tokens resolved.
  bool embed = false;
  TenantShare tenant;
  TenantAccount* account = nullptr;  // The scheduler's, while it has sequences of the request.
  int priority = 0;
  absl::Time due = absl::InfiniteFuture();  // Orders those of a tenant and a priority.
  uint64_t cache_salt = 0;
  uint64_t ordinal = 0;  // Counts Submits: who came first.
  absl::Time arrival;
  absl::Time deadline;
  int num_prompt_tokens = 0;
  std::optional<LeaseRequest> lease;

  // One until the prompt is computed; from then on sampling.n, by index. They share the prompt's pages.
  std::vector<std::unique_ptr<Sequence>> sequences;
  int num_running = 0;
  int num_finished = 0;
  bool ended = false;  // Its last output has been made.

  absl::Time first_scheduled = absl::InfiniteFuture();
  absl::Time first_token = absl::InfiniteFuture();
  absl::Time last_token = absl::InfinitePast();
  int num_cached_tokens = 0;  // At its first admission only: what preemption finds again is the engine's own doing.
  std::array<int, kNumKvTiers> num_fetched_tokens = {};  // Of those, by tier.
  int num_completion_tokens = 0;
  // Prompt tokens 1 to num_scored have their log-probabilities, also where preemption has them computed again.
  int num_scored = 0;
  std::vector<TokenLogprob> prompt_logprobs;  // Of those, moved into the first output.

  bool forked() const { return static_cast<int>(sequences.size()) == sampling.n; }
  bool needs_scores() const { return sampling.prompt_logprobs >= 0 && num_scored < num_prompt_tokens - 1; }
};

enum class SequenceStatus { kWaiting, kRunning, kFinished };

struct Sequence {
  RequestState* request = nullptr;
  int index = 0;  // Which of the request's samples.
  uint64_t seed = 0;
  std::vector<TokenId> tokens;  // Known: the prompt, then the output.
  std::unique_ptr<TokenConstraint> constraint;  // Has accepted the output; null: none.
  int num_computed = 0;         // Leading tokens whose KV is in the pages of `table`, but for those dropped:
  int num_dropped = 0;          // see KvWindow.
  int num_charged = 0;          // Leading tokens whose computing its tenant was charged for.
  int num_preemptions = 0;
  int num_scheduled = 0;        // Tokens after those that the step being planned computes.
  int num_refreshed = 0;        // Leading tokens that it computes anew, to be rotated for where they are now.
  BlockTable table;             // Empty unless running.
  SequenceStatus status = SequenceStatus::kWaiting;
  TierWait tier_wait;           // Of its next admission.

  // How often a sequence may lose its pages to others. From then on it goes before all that are not exempt.
  static constexpr int kMaxPreemptions = 4;

  bool exempt() const { return num_preemptions >= kMaxPreemptions; }
  int num_uncomputed() const { return static_cast<int>(tokens.size()) - num_computed; }
  // How far into the table's pages a token lies that is not among the sinks.
  int PlaceOf(int position) const { return position - num_dropped; }
  int num_output_tokens() const { return static_cast<int>(tokens.size()) - request->num_prompt_tokens; }
  // Places among the running that it takes: it answers for the samples that have not parted from it yet.
  int num_seats() const { return request->forked() ? 1 : request->sampling.n; }
};

// Who goes first: those that were preempted too often, then by priority, by when they are due, by arrival. Strict and
// total, so that of two sequences that compete for the last page always the same one wins, and the first of all always
// advances.
struct ServedBefore {
  bool operator()(const Sequence* a, const Sequence* b) const { return KeyOf(*a) < KeyOf(*b); }

 private:
  static std::tuple<bool, int, absl::Time, uint64_t, int> KeyOf(const Sequence& sequence) {
    const RequestState& request = *sequence.request;
    return {!sequence.exempt(), request.priority, request.due, request.ordinal, sequence.index};
  }
};

// The seed of one of a request's samples. The first has the request's own, so that n does not change it.
inline uint64_t SampleSeed(uint64_t seed, int index) {
  if (index == 0) return seed;
  // The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring indices give unrelated streams.
  uint64_t x = seed + static_cast<uint64_t>(index) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace quire
