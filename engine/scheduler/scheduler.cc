#include "engine/scheduler/scheduler.h"

#include <algorithm>
#include <span>
#include <tuple>

#include "engine/scheduler/planted_bug.h"
#include "kernels/check.h"

namespace quire {
namespace {

// Waiting sequences that a step looks past because another is computing their prefix. Each costs a look-up of its
// prompt.
constexpr int kMaxLookedPast = 16;
// Tenants of which a step asks how much of their next prompt is cached.
constexpr size_t kMaxLookedUp = 16;

ScheduledSequence Describe(Sequence& sequence) {
  const RequestState& request = *sequence.request;
  ScheduledSequence scheduled = {.sequence = &sequence,
                                 .num_tokens = sequence.num_scheduled,
                                 .num_refreshed = sequence.num_refreshed};
  if (request.needs_scores()) {
    const int end = std::min(sequence.num_computed + sequence.num_scheduled, request.num_prompt_tokens - 1);
    scheduled.first_scored = std::max(sequence.num_computed, request.num_scored);
    scheduled.num_scored = std::max(end - scheduled.first_scored, 0);
  }
  if (sequence.num_scheduled == sequence.num_uncomputed()) scheduled.num_sampled = sequence.num_seats();
  return scheduled;
}

// Or what is computed again as one.
bool IsPrompt(const Sequence& sequence) { return sequence.num_uncomputed() > 1 || sequence.num_output_tokens() == 0; }

}  // namespace

void Scheduler::Enqueue(Sequence& sequence) {
  sequence.status = SequenceStatus::kWaiting;
  waiting_.Insert(sequence);
}

void Scheduler::Fork(const Sequence& parent, Sequence& sequence) {
  QUIRE_CHECK(parent.status == SequenceStatus::kRunning);
  sequence.table = blocks_.Fork(parent.table);
  sequence.num_computed = parent.num_computed;
  sequence.num_dropped = parent.num_dropped;
  sequence.num_charged = parent.num_charged;
  sequence.num_preemptions = parent.num_preemptions;
  Started(sequence);
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
  waiting_.ForgetIdle();
  waiting_.NoteWhoHadEnough(LeastServedWithPrompts());
  gave_prompts_ = false;
  OrderByTenant();
  PlanDecodes();
  PlanPrompts(/*had_enough=*/false);
  PlanWaiting(now);
  PlanPrompts(/*had_enough=*/true);
  OrderByTenant();
  PlanRest();
  schedule_.sequences.clear();
  for (Sequence* sequence : running_) {
    if (sequence->num_scheduled == 0) continue;
    schedule_.sequences.push_back(Describe(*sequence));
    sequence->num_scheduled = sequence->num_refreshed = 0;
  }
  schedule_.num_tokens = options_.max_num_batched_tokens - budget_;
  return schedule_;
}

bool Scheduler::GivesWayTo(const Schedule& under_way, const TenantShare& tenant) const {
  const TenantAccount* account = waiting_.Find(tenant.id);
  if (account != nullptr && !account->waiting.empty()) return false;  // It is not the lack of a step that it waits for.
  return std::ranges::all_of(under_way.sequences, [&](const ScheduledSequence& scheduled) {
    // Of a window that has slid it is not kept whether its sinks were rotated.
    if (scheduled.num_refreshed > 0 && kPlantedSchedulerBug != PlantedSchedulerBug::kSlidWindowGivesWay) return false;
    return waiting_.IsOverServedFor(*scheduled.sequence->request->account, tenant.id);
  });
}

void Scheduler::OrderByTenant() {
  in_turn_ = running_;
  const auto before = [](const Sequence* a, const Sequence* b) {
    return LessServed(*a->request->account, *b->request->account);
  };
  // A stable sort allocates, and mostly there is one tenant.
  if (std::is_sorted(in_turn_.begin(), in_turn_.end(), before)) return;
  std::stable_sort(in_turn_.begin(), in_turn_.end(), before);
}

// The least served tenant that has more to compute than decodes, waiting or running; nullptr: there is none.
const TenantAccount* Scheduler::LeastServedWithPrompts() const {
  const TenantAccount* least = nullptr;
  const auto consider = [&least](const TenantAccount& account) {
    if (least == nullptr || LessServed(account, *least)) least = &account;
  };
  for (const TenantAccount* account : waiting_.Waiting()) consider(*account);
  for (const Sequence* sequence : running_) {
    if (sequence->num_uncomputed() > 1) consider(*sequence->request->account);
  }
  return least;
}

// In the next three loops preemption may stop sequences that have not had their turn yet.
void Scheduler::PlanDecodes() {
  for (Sequence* sequence : in_turn_) {
    if (budget_ == 0) return;
    if (sequence->status != SequenceStatus::kRunning || sequence->num_uncomputed() != 1) continue;
    // Decodes alone could fill every step; those of a tenant that has had more leave half of it to others' prompts.
    const bool had_enough = sequence->request->account->had_enough;
    if (had_enough && budget_ <= options_.max_num_batched_tokens / 2) continue;
    if (SlideWindow(*sequence) && GrowOrPreempt(*sequence, 1)) Give(*sequence, 1);
  }
}

// Of the tenants that have had enough, or of the others.
void Scheduler::PlanPrompts(bool had_enough) {
  num_contenders_ = waiting_.size();
  for (const Sequence* sequence : running_) num_contenders_ += sequence->num_scheduled == 0;
  for (Sequence* sequence : in_turn_) {
    if (sequence->status != SequenceStatus::kRunning || sequence->num_scheduled > 0) continue;
    if (sequence->request->account->had_enough != had_enough || StepsAside(*sequence)) continue;
    if (budget_ == 0) return;
    if (!SlideWindow(*sequence)) continue;
    const int share = TakeShare(*sequence);
    if (GrowOrPreempt(*sequence, share)) Give(*sequence, share);
  }
}

void Scheduler::PlanRest() {
  for (Sequence* sequence : in_turn_) {
    if (budget_ == 0) return;
    if (sequence->status != SequenceStatus::kRunning) continue;
    const int lacking = NumComputable(*sequence) - sequence->num_scheduled;
    if (lacking == 0 || StepsAside(*sequence) || !SlideWindow(*sequence)) continue;
    const int more = std::min(lacking, budget_);
    if (GrowOrPreempt(*sequence, sequence->num_scheduled + more)) Give(*sequence, more);
  }
}

void Scheduler::PlanWaiting(absl::Time now) {
  int looked_past = 0;
  std::vector<Turn> turns;
  for (TenantAccount* account : waiting_.Waiting()) turns.push_back({account, account->waiting.begin()});
  while (budget_ > 0) {
    Turn* turn = NextTurn(turns);
    if (turn == nullptr) return;
    Sequence& sequence = **turn->next;
    turn->num_cached = -1;
    if (StepsAside(sequence) || ExceedsShare(sequence, blocks_.BlocksFor(std::ssize(TokensToAdmit(sequence))))) {
      turn->next = turn->account->waiting.end();  // Nobody else waits for that.
      continue;
    }
    const AdmitOutcome outcome = Admit(sequence, now);
    // Nobody overtakes one that lacks room, or a large request would wait for ever.
    if (outcome == AdmitOutcome::kNoRoom) return;
    ++turn->next;
    if (outcome == AdmitOutcome::kWaitForPrefix) {
      if (++looked_past == kMaxLookedPast) return;
      --num_contenders_;
      continue;
    }
    waiting_.Remove(sequence);
    sequence.num_charged = std::max(sequence.num_charged, sequence.num_computed);
    num_seats_ += sequence.num_seats();
    Started(sequence);
    CountCached(sequence);
    if (sequence.request->first_scheduled == absl::InfiniteFuture()) sequence.request->first_scheduled = now;
    Give(sequence, TakeShare(sequence));
  }
}

// The least served tenant's turn, or that of one within a quantum of it whose next sequence finds more cached.
Scheduler::Turn* Scheduler::NextTurn(std::vector<Turn>& turns) const {
  std::erase_if(turns, [](const Turn& turn) { return turn.next == turn.account->waiting.end(); });
  if (turns.empty()) return nullptr;
  Turn* best = &turns[0];
  if (turns.size() == 1) return best;
  const size_t num_looked_up = std::min(turns.size(), kMaxLookedUp);
  std::partial_sort(turns.begin(), turns.begin() + static_cast<ptrdiff_t>(num_looked_up), turns.end(),
                    [](const Turn& a, const Turn& b) { return LessServed(*a.account, *b.account); });
  for (Turn& turn : std::span(turns).first(num_looked_up)) {
    if (waiting_.IsOverServed(*turn.account, *turns[0].account)) break;
    if (turn.num_cached < 0) {
      const Sequence& sequence = **turn.next;
      const bool reuse = !sequence.request->needs_scores();
      turn.num_cached = reuse ? blocks_.CountCached(TokensToAdmit(sequence), sequence.request->cache_salt) : 0;
    }
    if (turn.num_cached > best->num_cached) best = &turn;
  }
  return best;
}

// Whether this is a prompt that has no part in the step.
bool Scheduler::StepsAside(const Sequence& sequence) const {
  return gave_prompts_ && sequence.request->account->had_enough && IsPrompt(sequence);
}

void Scheduler::Give(Sequence& sequence, int num_tokens) {
  gave_prompts_ |= !sequence.request->account->had_enough && IsPrompt(sequence);
  sequence.num_scheduled += num_tokens;
  budget_ -= num_tokens;
  waiting_.Charge(sequence, sequence.num_computed + sequence.num_scheduled);
}

// What a prompt gets when it is its turn: at most half of what is left while others have nothing yet, and up to the end
// of a page where it goes on. PlanRest spends what that leaves.
int Scheduler::TakeShare(const Sequence& sequence) {
  const int needed = NumComputable(sequence);
  const int most = --num_contenders_ > 0 ? std::max(1, budget_ / 2) : budget_;
  if (needed <= most) return needed;
  const int past_page = (sequence.num_computed + most) % blocks_.block_size();
  return most > past_page ? most - past_page : most;
}

// How many of the sequence's tokens one step may compute: all that see the same pages.
int Scheduler::NumComputable(const Sequence& sequence) const {
  const int uncomputed = sequence.num_uncomputed();
  if (!options_.kv_window.bounded()) return uncomputed;
  return std::min(uncomputed, options_.kv_window.EndOfStretch(sequence.num_computed) - sequence.num_computed);
}

// Drops what the next token does not see any more, and has the sinks computed anew. False if the sequence gets nothing
// in this step: there is no budget for the sinks, or it found nobody to take pages from and had to give way itself.
bool Scheduler::SlideWindow(Sequence& sequence) {
  const KvWindow& window = options_.kv_window;
  if (!window.bounded()) return true;
  const int num_dropped = window.NumDropped(sequence.num_computed);
  if (num_dropped == sequence.num_dropped) return true;
  if (budget_ <= window.sink_tokens) return false;
  const int page = blocks_.block_size();
  while (!blocks_.Slide(sequence.table, window.sink_tokens / page, (num_dropped - sequence.num_dropped) / page)) {
    if (!TakePagesFor(sequence, /*own_tenant_only=*/false)) return false;
  }
  sequence.num_dropped = num_dropped;
  sequence.num_refreshed = window.sink_tokens;
  budget_ -= window.sink_tokens;
  return true;
}

// False if the sequence found nobody to take pages from, and had to give way itself.
bool Scheduler::GrowOrPreempt(Sequence& sequence, int num_tokens) {
  const int place = sequence.PlaceOf(sequence.num_computed);
  for (;;) {
    const int more = blocks_.BlocksFor(place + num_tokens) - static_cast<int>(sequence.table.blocks.size());
    const bool exceeds_share = more > 0 && ExceedsShare(sequence, more);
    if (!exceeds_share && blocks_.Grow(sequence.table, place, place + num_tokens)) return true;
    if (!TakePagesFor(sequence, exceeds_share)) return false;
  }
}

// Preempts a sequence that `sequence` may take from, or itself, and then returns false.
bool Scheduler::TakePagesFor(Sequence& sequence, bool own_tenant_only) {
  Sequence* victim = FindVictim(sequence, /*to_grow=*/true, own_tenant_only);
  Preempt(victim == nullptr ? sequence : *victim);
  return victim != nullptr;
}

std::span<const TokenId> Scheduler::TokensToAdmit(const Sequence& sequence) const {
  const std::span<const TokenId> tokens = sequence.tokens;
  if (!options_.kv_window.bounded()) return tokens;
  return tokens.first(std::min<size_t>(tokens.size(), options_.kv_window.capacity()));
}

// Pages for a waiting sequence. A page for each of the running is left, so that they do not preempt it at once.
AdmitOutcome Scheduler::Admit(Sequence& sequence, absl::Time now) {
  if (AwaitsFetch(sequence, now)) return AdmitOutcome::kWaitForPrefix;
  const auto seats_lacking = [&] { return num_seats_ + sequence.num_seats() > options_.max_num_seqs; };
  if (seats_lacking() && !CanMakeRoomFor(sequence)) return AdmitOutcome::kNoRoom;
  for (;;) {
    const Admission admission = blocks_.Admit(sequence.table, TokensToAdmit(sequence),
                                              {.salt = sequence.request->cache_salt,
                                               .reuse = !sequence.request->needs_scores(),
                                               .reserve_blocks = static_cast<int>(running_.size())});
    if (admission.outcome == AdmitOutcome::kAdmitted) {
      sequence.num_computed = admission.num_cached_tokens;
      break;
    }
    if (admission.outcome == AdmitOutcome::kWaitForPrefix || !CanMakeRoomFor(sequence)) return admission.outcome;
    Preempt(*FindVictim(sequence, /*to_grow=*/false, /*own_tenant_only=*/false));
  }
  while (seats_lacking()) Preempt(*FindVictim(sequence, /*to_grow=*/false, /*own_tenant_only=*/false));
  return AdmitOutcome::kAdmitted;
}

bool Scheduler::AwaitsFetch(Sequence& sequence, absl::Time now) {
  const RequestState& request = *sequence.request;
  return tiers_ != nullptr && !request.needs_scores() &&
         tiers_->Awaits(TokensToAdmit(sequence), request.cache_salt, sequence.tier_wait, now);
}

// Where the tokens of a sequence that was just admitted come from.
void Scheduler::CountCached(Sequence& sequence) {
  sequence.tier_wait = {};
  RequestState& request = *sequence.request;
  const TokensByTier fetched =
      tiers_ == nullptr ? TokensByTier{} : tiers_->TakeFetched(sequence.table, sequence.num_computed);
  if (request.first_scheduled != absl::InfiniteFuture()) return;
  request.num_cached_tokens = sequence.num_computed;
  request.num_fetched_tokens = fetched;
}

// Whether preempting all that `sequence` may take from would let it run. Pages that they share are counted more than
// once, so this may promise too much; then they wait with it for others to finish.
bool Scheduler::CanMakeRoomFor(const Sequence& sequence) const {
  const BlockCounts counts = blocks_.counts();
  int64_t pages = counts.free + counts.cached + counts.yielding - static_cast<int64_t>(running_.size());
  int seats = options_.max_num_seqs - num_seats_;
  bool any = false;
  for (const Sequence* other : running_) {
    if (!MayTakeFrom(sequence, *other, /*to_grow=*/false)) continue;
    pages += static_cast<int64_t>(other->table.blocks.size()) + 1;
    seats += other->num_seats();
    any = true;
  }
  return any && seats >= sequence.num_seats() &&
         pages >= blocks_.BlocksFor(std::ssize(TokensToAdmit(sequence)));
}

// A tenant's only sequence never does: what is longer than the share was not taken on.
bool Scheduler::ExceedsShare(const Sequence& sequence, int more) const {
  const TenantAccount& account = *sequence.request->account;
  if (account.share.max_pages == 0) return false;
  int64_t pages = more;
  for (const Sequence* other : running_) {
    if (other->request->account == &account) pages += static_cast<int64_t>(other->table.blocks.size());
  }
  return pages > account.share.max_pages;
}

bool Scheduler::MayTakeFrom(const Sequence& taker, const Sequence& victim, bool to_grow) const {
  const bool exempt = victim.exempt() && kPlantedSchedulerBug != PlantedSchedulerBug::kEndlessVictim;
  const TenantAccount* own = taker.request->account;
  const TenantAccount* other = victim.request->account;
  if (own != other && !exempt && waiting_.IsOverServed(*other, *own)) return true;
  if (to_grow) {
    const bool had_enough = waiting_.IsOverServed(*own, *other) && !taker.exempt();
    return !had_enough && ServedBefore()(&taker, &victim);
  }
  return own == other && !exempt && victim.request->priority > taker.request->priority;
}

Sequence* Scheduler::FindVictim(const Sequence& taker, bool to_grow, bool own_tenant_only) const {
  const TenantAccount* own = taker.request->account;
  struct Candidate {
    Sequence* sequence = nullptr;
    int64_t served = 0;  // By how much its tenant was over-served; 0 where that is not why it may be taken from.
    int priority = 0;
    bool frees_nothing = false;
    int loss = 0;  // Tokens to compute again.
  };
  Candidate worst;
  for (Sequence* sequence : running_) {
    if (sequence == &taker || !MayTakeFrom(taker, *sequence, to_grow)) continue;
    const TenantAccount* other = sequence->request->account;
    if (own_tenant_only && other != own) continue;
    Candidate candidate{.sequence = sequence, .priority = sequence->request->priority};
    if (waiting_.IsOverServed(*other, *own)) candidate.served = other->served;
    const int held_alone = blocks_.CountHeldAlone(sequence->table);
    candidate.frees_nothing = held_alone == 0;
    candidate.loss = std::min(held_alone * blocks_.block_size(), sequence->num_computed);
    const auto key = [](const Candidate& c) { return std::tuple(c.served, c.priority, !c.frees_nothing, -c.loss); };
    // Of equals the latest.
    if (worst.sequence == nullptr || key(candidate) >= key(worst)) worst = candidate;
  }
  return worst.sequence;
}

void Scheduler::Started(Sequence& sequence) {
  sequence.status = SequenceStatus::kRunning;
  ++sequence.request->account->num_running;
  num_running_requests_ += sequence.request->num_running++ == 0;
  running_.insert(std::lower_bound(running_.begin(), running_.end(), &sequence, ServedBefore()), &sequence);
}

void Scheduler::StopRunning(Sequence& sequence) {
  const auto position = std::lower_bound(running_.begin(), running_.end(), &sequence, ServedBefore());
  QUIRE_CHECK(position != running_.end() && *position == &sequence);
  running_.erase(position);
  --sequence.request->account->num_running;
  num_running_requests_ -= --sequence.request->num_running == 0;
  num_seats_ -= sequence.num_seats();
  budget_ += sequence.num_scheduled + sequence.num_refreshed;
  sequence.num_scheduled = sequence.num_refreshed = 0;
  blocks_.Release(sequence.table, sequence.tokens, sequence.num_computed);
  sequence.num_computed = sequence.num_dropped = 0;
}

void Scheduler::Preempt(Sequence& victim) {
  StopRunning(victim);
  ++victim.num_preemptions;  // In neither list now: its place is another.
  Enqueue(victim);
  ++num_preemptions_;
}

void Scheduler::CheckInvariants() const {
  waiting_.CheckInvariants();
  QUIRE_CHECK(std::is_sorted(running_.begin(), running_.end(), ServedBefore()));
  int num_seats = 0;
  for (const Sequence* sequence : running_) {
    QUIRE_CHECK(sequence->status == SequenceStatus::kRunning);
    QUIRE_CHECK(sequence->num_scheduled == 0 && sequence->num_refreshed == 0 && sequence->num_uncomputed() > 0);
    const int num_blocks = static_cast<int>(sequence->table.blocks.size());
    QUIRE_CHECK(num_blocks >= blocks_.BlocksFor(sequence->PlaceOf(sequence->num_computed)));
    if (options_.kv_window.bounded()) QUIRE_CHECK(num_blocks <= blocks_.BlocksFor(options_.kv_window.capacity()));
    num_seats += sequence->num_seats();
  }
  QUIRE_CHECK(num_seats == num_seats_ && num_seats_ <= options_.max_num_seqs);
}

}  // namespace quire
