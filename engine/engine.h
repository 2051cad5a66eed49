// Engine: continuous batching over one model. Single-threaded and deterministic: time, randomness, storage and the
// model come in from outside, so that the whole of it runs under a seeded simulator.
//
// One scheduling rule: a sequence has known tokens and computed tokens, and each step gives every chosen sequence some
// tokens within the step's budget so that computed catches up with known. Chunked prefill, prefix hits and preemption
// by recomputation are all cases of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "block_manager/block_manager.h"
#include "engine/runner/model_runner.h"
#include "engine/runner/step_pipeline.h"
#include "engine/scheduler/scheduler.h"
#include "engine/tiers/page_tiers.h"
#include "engine/types/generate_request.h"
#include "engine/types/sequence.h"
#include "engine/types/step_output.h"

namespace quire {

struct EngineOptions {
  int max_model_len = 2048;              // Prompt and output of one sequence, tokens.
  int max_num_seqs = 256;                // Sequences that run at once.
  int max_num_batched_tokens = 256;      // Tokens a step, >= max_num_seqs.
  int max_waiting_requests = 1024;       // Beyond these bounds Submit answers RESOURCE_EXHAUSTED.
  int64_t max_waiting_tokens = 1 << 20;  // >= max_model_len.
  int vocab_size = 0;
  std::vector<TokenId> eos_token_ids;  // Any of them ends a sequence, unless ignore_eos.
  BlockManagerOptions blocks;
  KvWindow kv_window;             // Unless it is bounded, a sequence must fit the pool.
  // Of the pool's pages, those that pinned leases may hold in all, as far as one sequence of max_model_len still fits
  // beside them. In [0, 1].
  double max_pinned_share = 0.5;
  bool recompute_always = false;  // --no-kv-cache: every token recomputes its whole sequence. For comparison only.
  // Steps that may be under way at once, 1 or 2, as far as the runner can. With 2 the next step is launched while one
  // runs where it only goes on with what that one does. Tokens do not depend on it.
  int pipeline_depth = 2;
  // Asked within a step, for Timings and StepTimings only: everything that is decided depends on the `now` given to
  // Step.
  std::function<absl::Time()> clock = absl::Now;
};

struct EngineStats {
  int64_t requests_running = 0;
  int64_t requests_waiting = 0;
  int64_t leases = 0;
  BlockCounts blocks;
  uint64_t prompt_tokens_total = 0;
  uint64_t cached_tokens_total = 0;
  uint64_t completion_tokens_total = 0;
  uint64_t preemptions_total = 0;
  uint64_t steps_total = 0;        // That computed something;
  uint64_t steps_ahead_total = 0;  // of these, those that were launched while the one before them was under way.
  uint64_t steps_given_up_total = 0;  // Not among steps_total.
  TierStats host_tier;
  TierStats disk_tier;
};

// Leading tokens of a prompt, each counted where it would be found first.
struct CachedTokens {
  int pool = 0;
  TokensByTier tiers = {};

  int total() const { return std::accumulate(tiers.begin(), tiers.end(), pool); }
};

class Engine {
 public:
  // `runner` outlives the engine. REQUIRES: options within the ranges that ValidateOptions checks; no tiers without
  // prefix caching.
  Engine(const EngineOptions& options, ModelRunner& runner, TierOptions tiers = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  static absl::Status ValidateOptions(const EngineOptions& options);

  // Takes a request on, or says why not and changes nothing:
  //   INVALID_ARGUMENT    a parameter out of range, an empty prompt, a token id outside the vocabulary, a prompt that
  //                       leaves no room for max_tokens (or for one token, if that is unset; for none, if it is to be
  //                       embedded) within max_model_len or within the whole page pool;
  //   RESOURCE_EXHAUSTED  the waiting queue is full, or as much of it as the tenant may have;
  //   DEADLINE_EXCEEDED   the deadline is past, or its prompt cannot be computed before it at the speed of the fastest
  //                       steps of late;
  //   ALREADY_EXISTS      a live request has this id.
  absl::Status Submit(GenerateRequest request, absl::Time now);

  // Ends a request; its pages are free when this returns. One final output (CANCELLED) comes from the next Step. False
  // if no such request lives.
  bool Cancel(RequestId id);
  // Ends one sample of a request as if it had met a stop token (a stop string was found in its text). Its last output
  // comes from the next Step. False if it has ended already or has no token yet.
  bool FinishSample(RequestId id, int index);

  // Schedules, runs and commits one step. Leases that are over end first. Requests whose deadline lies before `now` end
  // with DEADLINE_EXCEEDED. If the model fails, the requests in the step end with its status and the others go on.
  // Behind it the next step may be under way when this returns, and then be the one that the next call commits. It is
  // launched only while nobody waits who could start, so that whoever comes waits for one step more at most.
  // `gives_way` is asked while a step computes, where the runner can: once it says so the step is given up, as if it had
  // not begun, and this returns with `given_up` set. It may ask GivesWayTo and nothing else.
  StepOutput Step(absl::Time now, const GivesWay& gives_way = nullptr);
  // Whether the step that computes is to be given up for a request of `tenant` that has come: all in it are of tenants
  // that have had more by over a quantum, and what has lately been given up is little beside what was not.
  bool GivesWayTo(const TenantShare& tenant) const;

  // Whether Step would do anything; false means: sleep until the next Submit, or until a tier wakes.
  bool HasWork() const {
    return !requests_.empty() || !outputs_.empty() || !pipeline_.empty() || (tiers_ != nullptr && tiers_->HasWork());
  }
  // Whether the last step found nothing to run because all that lives waits for a tier, which wakes when it has news.
  // Deadlines and patience pass meanwhile: step again before long.
  bool AwaitsTier() const { return awaits_tier_; }
  // `wake` is called, on any thread, when a tier has news for Step; not any more once this has been called with null.
  void OnTierNews(const std::function<void()>& wake) {
    if (tiers_ != nullptr) tiers_->OnCompletions(wake);
  }
  EngineStats stats() const;
  // Who waits and who runs, to be looked at between steps.
  const Scheduler& scheduler() const { return scheduler_; }
  void ClearPrefixCache();
  // Keeps what is cached of `tokens` under `owner`, a cache salt: NOT_FOUND if there is nothing; RESOURCE_EXHAUSTED if
  // too much is pinned or there are too many leases; FAILED_PRECONDITION without prefix caching. See GenerateRequest for
  // one that is taken of what a request computes.
  absl::StatusOr<Lease> Pin(std::span<const TokenId> tokens, uint64_t owner, const LeaseRequest& request,
                            absl::Time now);
  // NOT_FOUND if this owner has no such lease now.
  absl::Status Unpin(uint64_t owner, LeaseId id, absl::Time now);
  std::vector<Lease> ListLeases(uint64_t owner, size_t max_leases, absl::Time now);
  // How much of `tokens` would be found: in the pool, and what tiers have beyond that.
  CachedTokens Probe(std::span<const TokenId> tokens, uint64_t salt) const;
  // What else may be asked of the cache between steps, and how it is told to give pages up, in the pool and in tiers.
  // Each returns how many the pool gave up.
  const BlockManager& blocks() const { return blocks_; }
  int EvictPrefix(std::span<const TokenId> tokens, uint64_t salt) {
    if (tiers_ != nullptr) tiers_->Evict({salt, {tokens.begin(), tokens.end()}});
    return blocks_.EvictPrefix(tokens, salt);
  }
  int EvictOwner(uint64_t salt) {
    if (tiers_ != nullptr) tiers_->Evict({salt, {}});
    return blocks_.EvictOwner(salt);
  }
  int EvictAll();
  // See BlockManager: what of the cache can be shared, and how that changes.
  void RecordPageEvents() { blocks_.RecordEvents(); }
  std::vector<PageEvent> TakePageEvents() { return blocks_.TakeEvents(); }
  std::vector<PageEvent> SharedPages() const { return blocks_.SharedPages(); }
  // See BlockManager::CheckInvariants; also that every queue and count agrees. Between steps only.
  void CheckInvariants() const;

 private:
  absl::Status CheckRequest(const GenerateRequest& request, absl::Time now) const;
  absl::Status CheckTenant(const GenerateRequest& request) const;
  // Prompt and output; a tenant's page share bounds it, too.
  int MaxSequenceLength(const TenantShare& tenant) const;
  // Leases are on a clock that a step or a call sets, and that never goes back.
  void SetLeaseClock(absl::Time now);

  absl::Status CheckDeadline(const GenerateRequest& request, absl::Time now) const;
  void MeasureSpeed(int num_tokens, absl::Duration took);
  void EndExpired(absl::Time now);
  void PlanSteps(absl::Time now);
  // In tokens that have to be computed before the step that computes may be given up.
  int CostOfGivingUp() const;
  void GiveUpStep(StepOutput& output);
  // Waits for the oldest step under way and commits it, ends its requests, or gives it up.
  void FinishStep(absl::Time begun, const GivesWay& gives_way, StepOutput& output);
  void Commit(const Schedule& schedule, std::span<const SampledToken> results, absl::Time when);
  void CommitSequence(const ScheduledSequence& scheduled, std::span<const SampledToken> results, absl::Time when);
  void Fork(RequestState& request);
  void AppendToken(Sequence& sequence, const SampledToken& sampled, absl::Time when);
  FinishReason FinishReasonOf(const Sequence& sequence) const;
  void FinishEmbedding(Sequence& sequence, const SampledToken& result, absl::Time when);
  void PromptComputed(RequestState& request, absl::Time when);
  void FinishSequence(Sequence& sequence, FinishReason reason, SequenceOutput& output);
  void EndRequest(RequestState& request, absl::Status status);
  void Retire(RequestState& request, SequenceOutput& output);

  const EngineOptions options_;
  ModelRunner& runner_;
  BlockManager blocks_;
  const std::unique_ptr<PageTiers> tiers_;  // Null: there are none.
  Scheduler scheduler_;
  absl::flat_hash_map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::set<std::pair<absl::Time, RequestId>> deadlines_;  // Of the live requests that have one.
  std::vector<std::unique_ptr<RequestState>> retired_;    // Ended in this step, which may still point to them.
  StepPipeline pipeline_;                                 // Behind what its steps may point to.
  absl::Time lease_clock_ = absl::InfinitePast();
  std::vector<SequenceOutput> outputs_;  // For the end of this step, or of the next one.
  uint64_t num_submitted_ = 0;
  bool awaits_tier_ = false;
  double tokens_per_second_ = 0;     // Of the fastest steps of late; 0: there were none.
  int tokens_before_giving_up_ = 0;  // Computed, less those that steps that were given up have cost.
  int num_asked_ = 0;                // How often the step that computes has asked whether to give way,
  int asks_a_step_ = 0;              // and how often the last one did that was not given up.
  EngineStats totals_;  // Only its *_total fields.
};

}  // namespace quire
