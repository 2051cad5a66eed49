// Scheduler: who computes how many tokens in the next step. It owns the waiting queue and the list of the running, and
// is the only one that asks the block manager for pages and gives them back.
//
// A step's tokens are given out in this order, each by (priority, arrival):
//   1. running sequences that lack one token, the decodes;
//   2. running sequences that lack more, each at most half of what is left while others wait for their share;
//   3. waiting sequences, while there are seats and pages, under the same rule;
//   4. whatever is left, to the first that can use it.
// When pages run out, the last of the running in that order is preempted: its pages are given back (and stay cached as
// long as they can), and it waits in its own place to be computed again.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "block_manager/block_manager.h"
#include "engine/scheduler/request_queue.h"
#include "engine/scheduler/schedule.h"
#include "engine/tiers/page_tiers.h"

namespace quire {

struct SchedulerOptions {
  int max_num_seqs = 0;
  int max_num_batched_tokens = 0;  // >= max_num_seqs, so that decodes always fit.
};

class Scheduler {
 public:
  // `blocks` and `tiers` outlive the scheduler. Null: there are no tiers.
  Scheduler(const SchedulerOptions& options, BlockManager& blocks, PageTiers* tiers = nullptr)
      : options_(options), blocks_(blocks), tiers_(tiers) {}

  // Takes on a new sequence, to wait for its turn.
  void Enqueue(Sequence& sequence);
  // Makes `sequence` run beside `parent`, over the same pages. Its seat was reserved with the parent's.
  // REQUIRES: parent runs, sequence is new and already in the request's list.
  void Fork(const Sequence& parent, Sequence& sequence);
  // Ends a waiting or running sequence and gives its pages back.
  void Finish(Sequence& sequence);

  // Plans a step; valid until the next call. The plan holds something whenever anything runs, or waits for something
  // else than a fetch from a tier.
  const Schedule& Plan(absl::Time now);

  const RequestQueue& waiting() const { return waiting_; }
  // By (priority, arrival).
  const std::vector<Sequence*>& running() const { return running_; }
  uint64_t num_preemptions() const { return num_preemptions_; }

  // Between steps only.
  void CheckInvariants() const;

 private:
  void PlanDecodes();
  void PlanPrompts();
  void PlanWaiting(absl::Time now);
  void PlanRest();

  void Give(Sequence& sequence, int num_tokens);
  int TakeShare(const Sequence& sequence);
  bool GrowOrPreempt(Sequence& sequence, int num_tokens);
  AdmitOutcome Admit(Sequence& sequence, absl::Time now);
  bool AwaitsFetch(Sequence& sequence, absl::Time now);
  void CountCached(Sequence& sequence);
  bool CanMakeRoomFor(const Sequence& sequence) const;
  void StartRunning(Sequence& sequence);
  void StopRunning(Sequence& sequence);
  void PreemptLast();

  const SchedulerOptions options_;
  BlockManager& blocks_;
  PageTiers* const tiers_;
  RequestQueue waiting_;
  std::vector<Sequence*> running_;  // Sorted by ServedBefore.
  int num_seats_ = 0;               // Taken by the running.
  int budget_ = 0;                  // Tokens of the step being planned that nobody has yet.
  int num_contenders_ = 0;          // Prompts that have had no share of it yet.
  Schedule schedule_;
  uint64_t num_preemptions_ = 0;
};

}  // namespace quire
