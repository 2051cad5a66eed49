// Scheduler: who computes how many tokens in the next step. It owns the waiting queue and the list of the running, and
// is the only one that asks the block manager for pages and gives them back.
//
// A step's tokens are given out in this order, each to the tenant first that has been served least (see FairQueue), and
// within a tenant in the order of ServedBefore:
//   1. running sequences that lack one token, the decodes; of a tenant that has had more than another that waits by
//      over a quantum, only while half of the step is left;
//   2. running sequences that lack more, each at most half of what is left while others wait for their share;
//   3. waiting sequences, while there are seats and pages, under the same rule. Among tenants that have had about
//      equally much, the one goes first whose next sequence finds most of its prompt cached;
//   4. whatever is left, to the first that can use it.
// Prompts of tenants that have had more than another that waits by over a quantum have no part in a step with prompts
// of others: what is long for the one is not to be the other's time to first token.
//
// When pages run out a sequence is preempted: its pages are given back (and stay cached as long as they can), and it
// waits in its own place to be computed again. To grow, a sequence may take pages from those behind it in the order of
// ServedBefore, and from those of a tenant that has had more than its own by over a quantum; to start, from such
// tenants' and from its own tenant's of lower priority. Of those that it may take from, the least urgent suffers that
// has the fewest tokens to compute again. After kMaxPreemptions a sequence goes before all others and is safe from
// other tenants. So the first in that order is never preempted for another, and always advances.
//
// A priority thus orders a tenant's own requests. Across tenants it only says who gives way among those that have been
// served about equally.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "block_manager/block_manager.h"
#include "engine/scheduler/fair_queue.h"
#include "engine/scheduler/kv_window.h"
#include "engine/scheduler/schedule.h"
#include "engine/tiers/page_tiers.h"

namespace quire {

struct SchedulerOptions {
  int max_num_seqs = 0;
  int max_num_batched_tokens = 0;  // >= max_num_seqs + kv_window.sink_tokens, so that decodes always fit.
  KvWindow kv_window = {};
};

class Scheduler {
 public:
  // Steps whose worth in tokens tenants may be apart before one has to make room for the other.
  static constexpr int kQuantumSteps = 2;

  // `blocks` and `tiers` outlive the scheduler. Null: there are no tiers.
  Scheduler(const SchedulerOptions& options, BlockManager& blocks, PageTiers* tiers = nullptr)
      : options_(options),
        blocks_(blocks),
        tiers_(tiers),
        waiting_(kQuantumSteps * options.max_num_batched_tokens) {}

  // Takes on a new sequence, to wait for its turn.
  void Enqueue(Sequence& sequence);
  // Makes `sequence` run beside `parent`, over the same pages. Its seat was reserved with the parent's.
  // REQUIRES: parent runs, sequence is new and already in the request's list.
  void Fork(const Sequence& parent, Sequence& sequence);
  // Ends a waiting or running sequence and gives its pages back.
  void Finish(Sequence& sequence);

  // Plans a step while no other is under way; valid until the next call. The plan holds something whenever anything runs,
  // or waits for something else than a fetch from a tier.
  const Schedule& Plan(absl::Time now);

  // Plans the step behind `under_way`, the last one that was planned, while its tokens are not known: each of its
  // sequences goes on by the token that will be chosen for it. False, and nothing is to be launched, unless all that runs
  // is in it, nobody who waits could start, and no page has to be taken from anybody that runs. A sequence that is going
  // to end by its length has no part in the new step; one that ends by a token has, in vain: see IsWasted.
  // Until `under_way` is committed nothing else may be planned. `ahead` is not `under_way`.
  bool PlanAhead(const Schedule& under_way, Schedule& ahead);
  // Whether the step under way should give way to a request of `tenant` that has come: it can be planned again as if it
  // had never been, and all in it are of tenants that have had more by over a quantum.
  bool GivesWayTo(const Schedule& under_way, const TenantShare& tenant) const;
  // Whether the sequence ended after the step was planned: what the step computes for it is nobody's. Its pages were
  // given back, and whoever has them now writes to them in a later step, which the device runs later.
  static bool IsWasted(const ScheduledSequence& scheduled);
  // Counts what a step planned ahead has computed, for which nobody pays before it is committed.
  void ChargeComputed(Sequence& sequence);

  const FairQueue& waiting() const { return waiting_; }
  // In the order of ServedBefore.
  const std::vector<Sequence*>& running() const { return running_; }
  int num_running_requests() const { return num_running_requests_; }
  uint64_t num_preemptions() const { return num_preemptions_; }

  // Between steps only.
  void CheckInvariants() const;

 private:
  // A tenant whose waiting sequences are being looked at.
  struct Turn {
    TenantAccount* account;
    RequestQueue::Iterator next;
    int num_cached = -1;  // Tokens that `next` would find; -1: not looked up yet.
  };

  void OrderByTenant();
  const TenantAccount* LeastServedWithPrompts() const;
  void PlanDecodes();
  void PlanPrompts(bool had_enough);
  void PlanWaiting(absl::Time now);
  void PlanRest();
  bool StepsAside(const Sequence& sequence) const;

  void Give(Sequence& sequence, int num_tokens);
  int TakeShare(const Sequence& sequence);
  bool SlideWindow(Sequence& sequence);
  int NumComputable(const Sequence& sequence) const;
  std::span<const TokenId> TokensToAdmit(const Sequence& sequence) const;
  Turn* NextTurn(std::vector<Turn>& turns) const;
  bool GrowOrPreempt(Sequence& sequence, int num_tokens);
  bool TakePagesFor(Sequence& sequence, bool own_tenant_only);
  AdmitOutcome Admit(Sequence& sequence, absl::Time now);
  bool AwaitsFetch(Sequence& sequence, absl::Time now);
  void CountCached(Sequence& sequence);
  bool CanMakeRoomFor(const Sequence& sequence) const;
  bool SomebodyMayStart() const;
  bool MayStart(const Sequence& sequence) const;
  bool GrowAhead(Sequence& sequence);
  // Whether `more` pages would take the sequence's tenant beyond its share.
  bool ExceedsShare(const Sequence& sequence, int more) const;
  bool MayTakeFrom(const Sequence& taker, const Sequence& victim, bool to_grow) const;
  // The one to be preempted for `taker`; nullptr if there is none.
  Sequence* FindVictim(const Sequence& taker, bool to_grow, bool own_tenant_only) const;
  void Started(Sequence& sequence);
  void StopRunning(Sequence& sequence);
  void Preempt(Sequence& victim);

  const SchedulerOptions options_;
  BlockManager& blocks_;
  PageTiers* const tiers_;
  FairQueue waiting_;
  std::vector<Sequence*> running_;   // Sorted by ServedBefore.
  std::vector<Sequence*> in_turn_;   // The running ones by tenant, then by ServedBefore; some may have been preempted.
  int num_running_requests_ = 0;
  int num_seats_ = 0;               // Taken by the running.
  int budget_ = 0;                  // Tokens of the step being planned that nobody has yet.
  int num_contenders_ = 0;          // Prompts that have had no share of it yet.
  bool gave_prompts_ = false;       // Whether some of it went to prompts of tenants that have not had enough.
  Schedule schedule_;
  uint64_t num_preemptions_ = 0;
};

}  // namespace quire
