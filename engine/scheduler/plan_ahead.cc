// Scheduler: the step that is planned while the one before it is under way.
#include <algorithm>

#include "engine/scheduler/planted_bug.h"
#include "engine/scheduler/scheduler.h"

namespace quire {
namespace {

// Whether the sequence's next row can be chosen before the host knows what this one's choice is.
bool GoesOnUnseen(const ScheduledSequence& scheduled) {
  const Sequence& sequence = *scheduled.sequence;
  const RequestState& request = *sequence.request;
  const SamplingParams& sampling = request.sampling;
  return scheduled.num_sampled == 1 && scheduled.num_scored == 0 && !request.embed && sequence.constraint == nullptr &&
         !sampling.penalizes() && sampling.logprobs <= 0;
}

}  // namespace

bool Scheduler::IsWasted(const ScheduledSequence& scheduled) {
  if (kPlantedSchedulerBug == PlantedSchedulerBug::kWastedRowCounts) return false;
  return scheduled.sequence->status == SequenceStatus::kFinished;
}

bool Scheduler::PlanAhead(const Schedule& under_way, Schedule& ahead) {
  ahead.sequences.clear();
  ahead.num_tokens = 0;
  // What the step under way copies is its own, and whoever may start is not to wait for one step more.
  if (!blocks_.pending_copies().empty() || SomebodyMayStart()) return false;
  size_t num_running = 0;
  int row = -1;
  for (const ScheduledSequence& scheduled : under_way.sequences) {
    Sequence& sequence = *scheduled.sequence;
    const bool has_ended = sequence.status != SequenceStatus::kRunning;
    row += !has_ended || kPlantedSchedulerBug != PlantedSchedulerBug::kAheadOfAnotherRow;
    if (has_ended) continue;
    ++num_running;
    if (!GoesOnUnseen(scheduled)) return false;
    if (sequence.num_output_tokens() + 1 == sequence.request->sampling.max_tokens) {
      if (!waiting_.empty()) return false;  // Its seat will be free.
      continue;
    }
    ahead.sequences.push_back({.sequence = &sequence, .num_tokens = 1, .num_sampled = 1, .follows_row = row});
  }
  if (num_running < running_.size() || ahead.sequences.empty()) return false;
  for (const ScheduledSequence& scheduled : ahead.sequences) {
    if (!GrowAhead(*scheduled.sequence)) return false;
  }
  ahead.num_tokens = static_cast<int>(ahead.sequences.size());
  return true;
}

// Room for the token behind those that are known. What was taken for others when one finds none is theirs for the plain
// step that comes instead.
bool Scheduler::GrowAhead(Sequence& sequence) {
  const KvWindow& window = options_.kv_window;
  const auto position = static_cast<int>(sequence.tokens.size());
  if (window.bounded() && window.NumDropped(position) != sequence.num_dropped) return false;
  const int place = sequence.PlaceOf(position);
  const int more = blocks_.BlocksFor(place + 1) - static_cast<int>(sequence.table.blocks.size());
  if (more > 0 && ExceedsShare(sequence, more)) return false;
  return blocks_.Grow(sequence.table, place, place + 1);
}

// Whether Plan might have anything to do with those that wait. It may say so where there is nothing.
bool Scheduler::SomebodyMayStart() const {
  if (waiting_.empty()) return false;
  if (tiers_ != nullptr) return true;  // It may be time to fetch what they need.
  return std::ranges::any_of(waiting_.Waiting(), [this](const TenantAccount* account) {
    const auto makes_room = [&](const Sequence* running) {
      return waiting_.IsOverServed(*running->request->account, *account);
    };
    return std::ranges::any_of(running_, makes_room) || MayStart(**account->waiting.begin());
  });
}

bool Scheduler::MayStart(const Sequence& sequence) const {
  const std::span<const TokenId> tokens = TokensToAdmit(sequence);
  if (ExceedsShare(sequence, blocks_.BlocksFor(std::ssize(tokens)))) return false;
  if (CanMakeRoomFor(sequence)) return true;
  if (num_seats_ + sequence.num_seats() > options_.max_num_seqs) return false;
  // Of all tokens at least one is computed anyway.
  const auto num_pages = static_cast<int>((std::ssize(tokens) - 1) / blocks_.block_size());
  const SharedPrefix found = blocks_.FindShared(tokens, num_pages, sequence.request->cache_salt);
  return found.being_computed || found.room >= std::ssize(running_);
}

void Scheduler::ChargeComputed(Sequence& sequence) { waiting_.Charge(sequence, sequence.num_computed); }

}  // namespace quire
