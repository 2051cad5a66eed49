#include "engine/scheduler/scheduler.h"

#include <algorithm>

#include "kernels/check.h"

namespace quire {
namespace {

// Waiting sequences that a step looks past because another is computing their prefix. Each costs a look-up of its
// prompt.
constexpr int kMaxLookedPast = 16;

ScheduledSequence Describe(Sequence& sequence) {
  const RequestState& request = *sequence.request;
  ScheduledSequence scheduled = {.sequence = &sequence, .num_tokens = sequence.num_scheduled};
  if (request.needs_scores()) {
    const int end = std::min(sequence.num_computed + sequence.num_scheduled, request.num_prompt_tokens - 1);
    scheduled.first_scored = std::max(sequence.num_computed, request.num_scored);
    scheduled.num_scored = std::max(end - scheduled.first_scored, 0);
  }
  if (sequence.num_scheduled == sequence.num_uncomputed()) scheduled.num_sampled = sequence.num_seats();
  return scheduled;
}

}  // namespace

void Scheduler::Enqueue(Sequence& sequence) {
  sequence.status = SequenceStatus::kWaiting;
  waiting_.Insert(sequence);
}

void Scheduler::Fork(const Sequence& parent, Sequence& sequence) {
  QUIRE_CHECK(parent.status == SequenceStatus::kRunning);
  sequence.table = blocks_.Fork(parent.table);
  sequence.num_computed = parent.num_computed;
  sequence.status = SequenceStatus::kRunning;
  running_.insert(std::lower_bound(running_.begin(), running_.end(), &sequence, ServedBefore()), &sequence);
}

void Scheduler::Finish(Sequence& sequence) {
  if (sequence.status == SequenceStatus::kWaiting) {
    waiting_.Remove(sequence);
  } else {
    StopRunning(sequence);
  }
  sequence.status = SequenceStatus::kFinished;
}

const Schedule& Scheduler::Plan(absl::Time now) {
  budget_ = options_.max_num_batched_tokens;
  PlanDecodes();
  PlanPrompts();
  PlanWaiting(now);
  PlanRest();
  schedule_.sequences.clear();
  for (Sequence* sequence : running_) {
    if (sequence->num_scheduled == 0) continue;
    schedule_.sequences.push_back(Describe(*sequence));
    sequence->num_scheduled = 0;
  }
  schedule_.num_tokens = options_.max_num_batched_tokens - budget_;
  return schedule_;
}

// The next three loops go forward while preemption shortens the list from its end, so they read its size each time.
void Scheduler::PlanDecodes() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.num_uncomputed() == 1 && GrowOrPreempt(sequence, 1)) Give(sequence, 1);
  }
}

void Scheduler::PlanPrompts() {
  num_contenders_ = waiting_.size();
  for (const Sequence* sequence : running_) num_contenders_ += sequence->num_scheduled == 0;
  for (size_t i = 0; i < running_.size() && budget_ > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.num_scheduled > 0) continue;
    const int share = TakeShare(sequence);
    if (GrowOrPreempt(sequence, share)) Give(sequence, share);
  }
}

void Scheduler::PlanRest() {
  for (size_t i = 0; i < running_.size() && budget_ > 0; ++i) {
    Sequence& sequence = *running_[i];
    const int more = std::min(sequence.num_uncomputed() - sequence.num_scheduled, budget_);
    if (more > 0 && GrowOrPreempt(sequence, sequence.num_scheduled + more)) Give(sequence, more);
  }
}

void Scheduler::PlanWaiting(absl::Time now) {
  int looked_past = 0;
  auto position = waiting_.begin();
  while (position != waiting_.end() && budget_ > 0) {
    Sequence& sequence = **position;
    const AdmitOutcome outcome = Admit(sequence);
    // Nobody overtakes one that lacks room, or a large request would wait for ever.
    if (outcome == AdmitOutcome::kNoRoom) return;
    if (outcome == AdmitOutcome::kWaitForPrefix) {
      if (++looked_past == kMaxLookedPast) return;
      --num_contenders_;
      ++position;
      continue;
    }
    position = waiting_.Remove(position);
    StartRunning(sequence);
    if (sequence.request->first_scheduled == absl::InfiniteFuture()) {
      sequence.request->first_scheduled = now;
      sequence.request->num_cached_tokens = sequence.num_computed;
    }
    Give(sequence, TakeShare(sequence));
  }
}

void Scheduler::Give(Sequence& sequence, int num_tokens) {
  sequence.num_scheduled += num_tokens;
  budget_ -= num_tokens;
}

// What a prompt gets when it is its turn: at most half of what is left while others have nothing yet, and up to the end
// of a page where it goes on. PlanRest spends what that leaves.
int Scheduler::TakeShare(const Sequence& sequence) {
  const int needed = sequence.num_uncomputed();
  const int most = --num_contenders_ > 0 ? std::max(1, budget_ / 2) : budget_;
  if (needed <= most) return needed;
  const int past_page = (sequence.num_computed + most) % blocks_.block_size();
  return most > past_page ? most - past_page : most;
}

// False if the sequence was itself the last and had to give way.
bool Scheduler::GrowOrPreempt(Sequence& sequence, int num_tokens) {
  while (!blocks_.Grow(sequence.table, sequence.num_computed, sequence.num_computed + num_tokens)) {
    const bool gave_way = running_.back() == &sequence;
    PreemptLast();
    if (gave_way) return false;
  }
  return true;
}

// Pages for a waiting sequence. A page for each of the running is left, so that they do not preempt it at once.
AdmitOutcome Scheduler::Admit(Sequence& sequence) {
  const auto seats_lacking = [&] { return num_seats_ + sequence.num_seats() > options_.max_num_seqs; };
  if (seats_lacking() && !CanMakeRoomFor(sequence)) return AdmitOutcome::kNoRoom;
  for (;;) {
    const Admission admission = blocks_.Admit(sequence.table, sequence.tokens,
                                              {.salt = sequence.request->cache_salt,
                                               .reuse = !sequence.request->needs_scores(),
                                               .reserve_blocks = static_cast<int>(running_.size())});
    if (admission.outcome == AdmitOutcome::kAdmitted) {
      sequence.num_computed = admission.num_cached_tokens;
      break;
    }
    if (admission.outcome == AdmitOutcome::kWaitForPrefix || !CanMakeRoomFor(sequence)) return admission.outcome;
    PreemptLast();
  }
  while (seats_lacking()) PreemptLast();
  return AdmitOutcome::kAdmitted;
}

// Whether preempting sequences of strictly lower priority, all of them if need be, would let `sequence` run. Pages that
// they share are counted more than once, so this may promise too much; then they wait with it for others to finish.
bool Scheduler::CanMakeRoomFor(const Sequence& sequence) const {
  const BlockCounts counts = blocks_.counts();
  int64_t pages = counts.free + counts.cached + counts.yielding - static_cast<int64_t>(running_.size());
  int seats = options_.max_num_seqs - num_seats_;
  bool any = false;
  for (auto it = running_.rbegin(); it != running_.rend() && (*it)->request->priority > sequence.request->priority;
       ++it) {
    pages += static_cast<int64_t>((*it)->table.blocks.size()) + 1;
    seats += (*it)->num_seats();
    any = true;
  }
  return any && seats >= sequence.num_seats() &&
         pages >= blocks_.BlocksFor(static_cast<int64_t>(sequence.tokens.size()));
}

void Scheduler::StartRunning(Sequence& sequence) {
  sequence.status = SequenceStatus::kRunning;
  num_seats_ += sequence.num_seats();
  running_.insert(std::lower_bound(running_.begin(), running_.end(), &sequence, ServedBefore()), &sequence);
}

void Scheduler::StopRunning(Sequence& sequence) {
  const auto position = std::lower_bound(running_.begin(), running_.end(), &sequence, ServedBefore());
  QUIRE_CHECK(position != running_.end() && *position == &sequence);
  running_.erase(position);
  num_seats_ -= sequence.num_seats();
  budget_ += sequence.num_scheduled;
  sequence.num_scheduled = 0;
  blocks_.Release(sequence.table, sequence.tokens, sequence.num_computed);
  sequence.num_computed = 0;
}

void Scheduler::PreemptLast() {
  Sequence& victim = *running_.back();
  StopRunning(victim);
  Enqueue(victim);
  ++num_preemptions_;
}

void Scheduler::CheckInvariants() const {
  waiting_.CheckInvariants();
  QUIRE_CHECK(std::is_sorted(running_.begin(), running_.end(), ServedBefore()));
  int num_seats = 0;
  for (const Sequence* sequence : running_) {
    QUIRE_CHECK(sequence->status == SequenceStatus::kRunning);
    QUIRE_CHECK(sequence->num_scheduled == 0 && sequence->num_uncomputed() > 0);
    QUIRE_CHECK(static_cast<int>(sequence->table.blocks.size()) >= blocks_.BlocksFor(sequence->num_computed));
    num_seats += sequence->num_seats();
  }
  QUIRE_CHECK(num_seats == num_seats_ && num_seats_ <= options_.max_num_seqs);
}

}  // namespace quire
