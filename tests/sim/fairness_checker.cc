#include "tests/sim/fairness_checker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire {

// Of two tenants that wait, either may be ahead by a quantum before it has to make room, and then by what its exempt
// sequences hold and may still fill: at most the weighted tokens of a pool, where a request's samples share their
// prompt's pages.
FairnessChecker::FairnessChecker(const SimConfig& config) : config_(config) {
  const EngineOptions& engine = config.engine;
  double least_weight = 1;
  for (const TenantShare& tenant : config.tenants) least_weight = std::min(least_weight, tenant.weight);
  // Room does not bound a sequence that gives up old pages for new ones.
  const int room = engine.kv_window.bounded()
                       ? config.LongestSequence() * std::min(engine.max_num_seqs, engine.blocks.num_blocks)
                       : engine.blocks.num_blocks * engine.blocks.block_size;
  const int pool = room * config.max_samples;
  const int quantum = Scheduler::kQuantumSteps * engine.max_num_batched_tokens;
  // It is looked at after a step, and the scheduler decides before.
  const int step = FairQueue::kOutputWeight * engine.max_num_batched_tokens;
  bound_ = (2 * (quantum + FairQueue::kOutputWeight * pool) + step) / least_weight;
}

void FairnessChecker::Note(int tenant, RequestId request, double tokens) {
  double& noted = noted_[request];
  if (tokens <= noted) return;
  served_[tenant] += (tokens - noted) / config_.tenants[tenant].weight;
  noted = tokens;
}

void FairnessChecker::Count(int tenant, const SequenceOutput& output) {
  const Usage& usage = output.usage;
  if (usage.completion_tokens == 0) return;
  Note(tenant, output.request,
       usage.prompt_tokens - usage.cached_tokens + FairQueue::kOutputWeight * usage.completion_tokens);
}

void FairnessChecker::Check(const Scheduler& scheduler) {
  for (const Sequence* sequence : scheduler.running()) {
    Look(static_cast<int>(sequence->request->tenant.id), *sequence);
  }
  for (int tenant = 0; tenant < config_.num_tenants; ++tenant) {
    const TenantAccount* account = scheduler.waiting().Find(config_.tenants[tenant].id);
    if (account == nullptr) continue;
    for (const Sequence* sequence : account->waiting) Look(tenant, *sequence);
  }
  for (int a = 0; a < config_.num_tenants; ++a) {
    for (int b = a + 1; b < config_.num_tenants; ++b) CheckGap(a, b, scheduler);
  }
}

// What was computed of a prompt counts before anything of the answer is there.
void FairnessChecker::Look(int tenant, const Sequence& sequence) {
  const RequestState& request = *sequence.request;
  Note(tenant, request.id, std::min(sequence.num_charged, request.num_prompt_tokens) - request.num_cached_tokens);
  CheckPreemptions(sequence);
}

void FairnessChecker::CheckGap(int a, int b, const Scheduler& scheduler) {
  const auto waits = [&](int tenant) {
    const TenantAccount* account = scheduler.waiting().Find(config_.tenants[tenant].id);
    return account != nullptr && !account->waiting.empty();
  };
  if (!waits(a) || !waits(b)) {
    gaps_.erase({a, b});
    return;
  }
  const double ahead = served_[a] - served_[b];
  const auto [entry, is_new] = gaps_.try_emplace({a, b}, Gap{ahead, ahead});
  Gap& gap = entry->second;
  gap = {std::min(gap.least, ahead), std::max(gap.most, ahead)};
  if (gap.most - gap.least <= bound_) return;
  failure_ = absl::StrCat("tenants ", a, " and ", b, " both wait, and one was served ", gap.most - gap.least,
                          " more than the other, of ", bound_, " at most");
}

void FairnessChecker::CheckPreemptions(const Sequence& sequence) {
  // Those that are exempt may still take from each other, a request's samples among them, and where windows slide over
  // and over; more than is seen of that.
  const int more = config_.max_samples + (config_.engine.kv_window.bounded() ? 4 : 2);
  if (sequence.num_preemptions <= more * Sequence::kMaxPreemptions) return;
  failure_ = absl::StrCat("request ", sequence.request->id, " was preempted ", sequence.num_preemptions, " times");
}

}  // namespace quire
