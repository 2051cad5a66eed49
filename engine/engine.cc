#include "engine/engine.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {
namespace {

// Tokens that have to be computed for each that is lost in a step that is given up: at most a fifth of all time is.
constexpr int kTokensForEachLost = 4;

// Tokens of one sequence in a pool of so many pages, and how many of them are in its pages at once.
int MaxLength(const EngineOptions& options, int num_blocks) {
  const int pool = num_blocks * options.blocks.block_size;
  const bool slides = options.kv_window.bounded() && options.kv_window.capacity() <= pool;
  return slides ? options.max_model_len : std::min(options.max_model_len, pool);
}
int MaxKept(const EngineOptions& options) {
  const int length = MaxLength(options, options.blocks.num_blocks);
  return options.kv_window.bounded() ? std::min(length, options.kv_window.capacity()) : length;
}

BlockManagerOptions BlockOptions(const EngineOptions& options) {
  QUIRE_CHECK(Engine::ValidateOptions(options).ok());
  BlockManagerOptions blocks = options.blocks;
  if (options.recompute_always) blocks.enable_prefix_caching = false;
  const int longest = (MaxKept(options) + blocks.block_size - 1) / blocks.block_size;
  blocks.max_pinned_blocks =
      std::min(static_cast<int>(options.max_pinned_share * blocks.num_blocks), blocks.num_blocks - longest);
  return blocks;
}

// A request without a deadline is as urgent as one with a deadline so far off: deadlines do not starve it.
constexpr absl::Duration kPatience = absl::Minutes(1);

bool Contains(const std::vector<TokenId>& tokens, TokenId token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

// A clock may be set back, and a request may end before it came that far.
absl::Duration Between(absl::Time from, absl::Time to) {
  return from < to && to != absl::InfiniteFuture() ? to - from : absl::ZeroDuration();
}

TokenLogprob LogprobOf(TokenId token, const SampledToken& sampled) { return {token, sampled.logprob, sampled.top}; }

Usage UsageOf(const RequestState& request) {
  Usage usage;
  usage.prompt_tokens = request.num_prompt_tokens;
  usage.cached_tokens = request.num_cached_tokens;
  usage.cached_tokens_host = request.num_fetched_tokens[static_cast<int>(KvTier::kHost)];
  usage.cached_tokens_disk = request.num_fetched_tokens[static_cast<int>(KvTier::kDisk)];
  usage.completion_tokens = request.num_completion_tokens;
  return usage;
}

}  // namespace

Engine::Engine(const EngineOptions& options, ModelRunner& runner, TierOptions tiers)
    : options_(options),
      runner_(runner),
      blocks_(BlockOptions(options)),
      tiers_(tiers.staging == nullptr ? nullptr : std::make_unique<PageTiers>(std::move(tiers), blocks_, runner)),
      scheduler_({.max_num_seqs = options.max_num_seqs,
                  .max_num_batched_tokens = options.max_num_batched_tokens,
                  .kv_window = options.kv_window},
                 blocks_, tiers_.get()),
      // Where everything is computed again, a step never only goes on.
      pipeline_(runner, options.recompute_always ? 1 : options.pipeline_depth) {
  QUIRE_CHECK(tiers_ == nullptr || BlockOptions(options).enable_prefix_caching);
}

Engine::~Engine() {
  // A block table must be given back before it is destroyed.
  while (!requests_.empty()) Cancel(requests_.begin()->first);
}

int Engine::MaxSequenceLength(const TenantShare& tenant) const {
  const int num_blocks = options_.blocks.num_blocks;
  return MaxLength(options_, tenant.max_pages == 0 ? num_blocks : std::min(tenant.max_pages, num_blocks));
}

absl::Status Engine::Submit(GenerateRequest request, absl::Time now) {
  RETURN_IF_ERROR(CheckRequest(request, now));
  auto state = std::make_unique<RequestState>();
  state->id = request.id;
  state->num_prompt_tokens = static_cast<int>(request.prompt.size());
  state->sampling = std::move(request.sampling);
  if (state->sampling.max_tokens == 0) {
    state->sampling.max_tokens = MaxSequenceLength(request.tenant) - state->num_prompt_tokens;
  }
  state->embed = request.embed;
  state->tenant = request.tenant;
  state->priority = request.priority;
  state->cache_salt = request.cache_salt;
  state->ordinal = num_submitted_++;
  state->arrival = request.arrival == absl::InfinitePast() ? now : request.arrival;
  state->deadline = request.deadline;
  state->lease = request.lease;
  state->due = std::min(request.deadline, now + kPatience);

  auto sequence = std::make_unique<Sequence>();
  sequence->request = state.get();
  sequence->seed = SampleSeed(state->sampling.seed, 0);
  sequence->tokens = std::move(request.prompt);
  if (request.constraint != nullptr) sequence->constraint = request.constraint->Clone();
  scheduler_.Enqueue(*sequence);
  state->sequences.push_back(std::move(sequence));
  if (state->deadline != absl::InfiniteFuture()) deadlines_.insert({state->deadline, state->id});
  requests_.emplace(state->id, std::move(state));
  return absl::OkStatus();
}

bool Engine::Cancel(RequestId id) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return false;
  EndRequest(*it->second, absl::CancelledError("the request was cancelled"));
  pipeline_.Keep(retired_);
  return true;
}

bool Engine::FinishSample(RequestId id, int index) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return false;
  RequestState& request = *it->second;
  if (index < 0 || index >= static_cast<int>(request.sequences.size())) return false;
  Sequence& sequence = *request.sequences[index];
  if (sequence.status == SequenceStatus::kFinished || sequence.num_output_tokens() == 0) return false;
  SequenceOutput& output = outputs_.emplace_back();
  output.request = id;
  output.index = index;
  output.usage = UsageOf(request);
  FinishSequence(sequence, FinishReason::kStop, output);
  pipeline_.Keep(retired_);
  return true;
}

StepOutput Engine::Step(absl::Time now, const GivesWay& gives_way) {
  SetLeaseClock(now);
  EndExpired(now);
  const absl::Time begun = options_.clock();
  if (tiers_ != nullptr) tiers_->BeginStep(now);
  PlanSteps(now);
  // Behind both plans: neither step writes to what is saved meanwhile.
  if (tiers_ != nullptr) tiers_->StartSaving();
  awaits_tier_ = pipeline_.empty() && !requests_.empty() && tiers_ != nullptr && tiers_->IsFetching() &&
                 !tiers_->HasWork();
  StepOutput output;
  if (!pipeline_.empty()) {
    FinishStep(begun, gives_way, output);
  } else if (tiers_ != nullptr) {
    tiers_->FinishSaving(/*idle=*/true);
  }
  pipeline_.Keep(retired_);
  output.outputs = std::exchange(outputs_, {});
  return output;
}

void Engine::PlanSteps(absl::Time now) {
  if (pipeline_.empty()) {
    const Schedule& schedule = scheduler_.Plan(now);
    if (schedule.num_tokens == 0) return;
    pipeline_.next_schedule() = schedule;
    pipeline_.Add(blocks_);
  }
  if (pipeline_.has_room() && scheduler_.PlanAhead(pipeline_.schedule(), pipeline_.next_schedule())) {
    pipeline_.Add(blocks_);
  }
}

bool Engine::GivesWayTo(const TenantShare& tenant) const {
  return CostOfGivingUp() <= tokens_before_giving_up_ && scheduler_.GivesWayTo(pipeline_.schedule(), tenant);
}

// How far the step has got is known from how often it asks whether to give way.
int Engine::CostOfGivingUp() const {
  const int64_t tokens = kTokensForEachLost * pipeline_.schedule().num_tokens;
  return static_cast<int>(tokens * num_asked_ / std::max(num_asked_, asks_a_step_));
}

void Engine::GiveUpStep(StepOutput& output) {
  blocks_.FinishCopies();
  tokens_before_giving_up_ -= CostOfGivingUp();
  ++totals_.steps_given_up_total;
  output.given_up = true;
  pipeline_.Remove();
}

void Engine::FinishStep(absl::Time begun, const GivesWay& gives_way, StepOutput& output) {
  const Schedule& schedule = pipeline_.schedule();
  const bool was_ahead = pipeline_.was_ahead();
  const absl::Time planned = options_.clock();
  num_asked_ = 0;
  const auto counted = [&] {
    ++num_asked_;
    return gives_way();
  };
  pipeline_.Launch(gives_way == nullptr ? gives_way : counted);
  const auto results = pipeline_.Await();
  const absl::Time computed = options_.clock();
  if (tiers_ != nullptr) tiers_->FinishSaving(/*idle=*/false);
  if (absl::IsAborted(results.status())) return GiveUpStep(output);
  output.num_scheduled_tokens = schedule.num_tokens;
  ++totals_.steps_total;
  totals_.steps_ahead_total += was_ahead;
  asks_a_step_ = num_asked_;
  // Not for more than two full steps in a row.
  tokens_before_giving_up_ = std::min(tokens_before_giving_up_ + schedule.num_tokens,
                                      2 * kTokensForEachLost * options_.max_num_batched_tokens);
  if (!was_ahead) {  // Of another it is not known when the device began with it.
    if (tiers_ != nullptr) tiers_->NoteStep(schedule.num_tokens, computed - planned);
    if (results.ok()) MeasureSpeed(schedule.num_tokens, Between(begun, computed));
  }
  if (results.ok()) {
    blocks_.FinishCopies();  // Before pages that they filled are released, and cached.
    Commit(schedule, *results, computed);
  } else {
    for (const ScheduledSequence& scheduled : schedule.sequences) {
      EndRequest(*scheduled.sequence->request, results.status());
    }
  }
  output.timings = {Between(begun, planned), Between(planned, computed), Between(computed, options_.clock())};
  output.model_status = results.status();
  pipeline_.Remove();
  // A step that goes on with one that failed has only sequences that ended with it.
  for (; !results.ok() && !pipeline_.empty(); pipeline_.Remove()) (void)pipeline_.Await();
}

// The fastest, since a deadline is refused only where nothing could be quick enough; and forgotten in time, since a
// machine may become slower.
void Engine::MeasureSpeed(int num_tokens, absl::Duration took) {
  constexpr double kKept = 0.999;
  if (took < absl::Microseconds(1)) return;  // Too short for the clock.
  tokens_per_second_ = std::max(tokens_per_second_ * kKept, num_tokens / absl::ToDoubleSeconds(took));
}

void Engine::EndExpired(absl::Time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first < now) {
    EndRequest(*requests_.at(deadlines_.begin()->second), absl::DeadlineExceededError("the deadline passed"));
  }
}

void Engine::Commit(const Schedule& schedule, std::span<const SampledToken> results, absl::Time when) {
  outputs_.reserve(outputs_.size() + results.size());
  for (const ScheduledSequence& scheduled : schedule.sequences) {
    const int num_rows = scheduled.num_scored + scheduled.num_sampled;
    CommitSequence(scheduled, results.first(num_rows), when);
    results = results.subspan(num_rows);
  }
}

void Engine::CommitSequence(const ScheduledSequence& scheduled, std::span<const SampledToken> results,
                            absl::Time when) {
  Sequence& sequence = *scheduled.sequence;
  RequestState& request = *sequence.request;
  // Another of its samples failed just now, or it ended before the step did, which was launched ahead.
  if (request.ended || Scheduler::IsWasted(scheduled)) return;
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const SampledToken& sampled) { return !sampled.status.ok(); });
  if (failed != results.end()) return EndRequest(request, failed->status);
  sequence.num_computed += scheduled.num_tokens;
  scheduler_.ChargeComputed(sequence);
  blocks_.Commit(sequence.table, sequence.tokens, sequence.num_computed);

  for (const SampledToken& scored : results.first(scheduled.num_scored)) {
    request.prompt_logprobs.push_back(LogprobOf(sequence.tokens[++request.num_scored], scored));
  }
  results = results.subspan(scheduled.num_scored);
  if (request.embed && !results.empty()) return FinishEmbedding(sequence, results[0], when);
  if (results.size() == 1) return AppendToken(sequence, results[0], when);
  if (!results.empty()) Fork(request);
  for (size_t i = 0; i < results.size() && !request.ended; ++i) AppendToken(*request.sequences[i], results[i], when);
}

// The samples part: the prompt is computed, and each now has a token of its own.
void Engine::Fork(RequestState& request) {
  const Sequence& first = *request.sequences[0];
  for (int index = 1; index < request.sampling.n; ++index) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = &request;
    sequence->index = index;
    sequence->seed = SampleSeed(request.sampling.seed, index);
    sequence->tokens = first.tokens;
    if (first.constraint != nullptr) sequence->constraint = first.constraint->Clone();
    scheduler_.Fork(first, *sequence);
    request.sequences.push_back(std::move(sequence));
  }
}

void Engine::AppendToken(Sequence& sequence, const SampledToken& sampled, absl::Time when) {
  RequestState& request = *sequence.request;
  if (sequence.constraint != nullptr) {
    if (absl::Status status = sequence.constraint->Accept(sampled.token); !status.ok()) {
      return EndRequest(request, std::move(status));
    }
  }
  sequence.tokens.push_back(sampled.token);
  if (options_.recompute_always) sequence.num_computed = 0;
  if (request.first_token == absl::InfiniteFuture()) PromptComputed(request, when);
  request.last_token = when;
  ++request.num_completion_tokens;
  ++totals_.completion_tokens_total;

  SequenceOutput& output = outputs_.emplace_back();
  output.request = request.id;
  output.index = sequence.index;
  output.usage = UsageOf(request);
  output.tokens.push_back(sampled.token);
  if (request.sampling.logprobs >= 0) output.logprobs.push_back(LogprobOf(sampled.token, sampled));
  output.prompt_logprobs = std::exchange(request.prompt_logprobs, {});
  const FinishReason reason = FinishReasonOf(sequence);
  if (reason != FinishReason::kNone) FinishSequence(sequence, reason, output);
}

void Engine::PromptComputed(RequestState& request, absl::Time when) {
  request.first_token = when;
  totals_.prompt_tokens_total += request.num_prompt_tokens;
  totals_.cached_tokens_total += request.num_cached_tokens;
}

void Engine::FinishEmbedding(Sequence& sequence, const SampledToken& result, absl::Time when) {
  RequestState& request = *sequence.request;
  PromptComputed(request, when);
  request.last_token = when;
  SequenceOutput& output = outputs_.emplace_back();
  output.request = request.id;
  output.embedding = result.embedding;
  FinishSequence(sequence, FinishReason::kStop, output);
}

FinishReason Engine::FinishReasonOf(const Sequence& sequence) const {
  const SamplingParams& sampling = sequence.request->sampling;
  if (sequence.constraint != nullptr && sequence.constraint->ended()) return FinishReason::kStop;
  const TokenId token = sequence.tokens.back();
  const bool stop =
      Contains(sampling.stop_token_ids, token) || (!sampling.ignore_eos && Contains(options_.eos_token_ids, token));
  if (stop && sequence.num_output_tokens() > sampling.min_tokens) return FinishReason::kStop;
  if (sequence.num_output_tokens() == sampling.max_tokens) return FinishReason::kLength;
  return FinishReason::kNone;
}

void Engine::FinishSequence(Sequence& sequence, FinishReason reason, SequenceOutput& output) {
  RequestState& request = *sequence.request;
  scheduler_.Finish(sequence);
  output.finish_reason = reason;
  if (request.lease && sequence.index == 0) {
    output.lease = Pin(sequence.tokens, request.cache_salt, *request.lease, lease_clock_);
  }
  if (++request.num_finished == request.sampling.n) Retire(request, output);
}

void Engine::EndRequest(RequestState& request, absl::Status status) {
  if (request.ended) return;
  for (const auto& sequence : request.sequences) {
    if (sequence->status != SequenceStatus::kFinished) scheduler_.Finish(*sequence);
  }
  SequenceOutput& output = outputs_.emplace_back();
  output.request = request.id;
  output.status = std::move(status);
  Retire(request, output);
}

// Makes `output` the request's last.
void Engine::Retire(RequestState& request, SequenceOutput& output) {
  output.last = true;
  output.usage = UsageOf(request);
  output.timings = {Between(request.arrival, request.first_scheduled),
                    Between(request.first_scheduled, request.first_token),
                    Between(request.first_token, request.last_token)};
  request.ended = true;
  deadlines_.erase({request.deadline, request.id});
  retired_.push_back(std::move(requests_.extract(request.id).mapped()));
}

CachedTokens Engine::Probe(std::span<const TokenId> tokens, uint64_t salt) const {
  CachedTokens cached;
  cached.pool = blocks_.CountCached(tokens, salt);
  if (tiers_ == nullptr) return cached;
  cached.tiers = tiers_->CountBeyondPool(tokens, salt);
  // A tier has whole pages, of the first of which the pool may have a part.
  int partial = cached.pool % blocks_.block_size();
  for (int& tokens_here : cached.tiers) {
    const int overlap = std::min(partial, tokens_here);
    tokens_here -= overlap;
    partial -= overlap;
  }
  return cached;
}

int Engine::EvictAll() {
  if (tiers_ != nullptr) tiers_->Clear();
  return blocks_.EvictAll();
}

void Engine::ClearPrefixCache() {
  blocks_.ClearCache();
  if (tiers_ != nullptr) tiers_->Clear();
}

EngineStats Engine::stats() const {
  EngineStats stats = totals_;
  stats.requests_running = scheduler_.num_running_requests();
  stats.requests_waiting = static_cast<int64_t>(requests_.size()) - stats.requests_running;
  stats.blocks = blocks_.counts();
  stats.leases = blocks_.num_leases();
  stats.preemptions_total = scheduler_.num_preemptions();
  if (tiers_ != nullptr) {
    stats.host_tier = tiers_->stats(KvTier::kHost);
    stats.disk_tier = tiers_->stats(KvTier::kDisk);
  }
  return stats;
}

void Engine::CheckInvariants() const {
  scheduler_.CheckInvariants();
  std::vector<const BlockTable*> tables;
  size_t num_waiting = 0, num_running = 0, num_deadlines = 0;
  for (const auto& [id, request] : requests_) {
    QUIRE_CHECK(request->id == id && !request->ended);
    QUIRE_CHECK(request->sequences.size() == 1 || request->forked());
    num_deadlines += request->deadline != absl::InfiniteFuture();
    int num_finished = 0;
    for (const auto& sequence : request->sequences) {
      num_waiting += sequence->status == SequenceStatus::kWaiting;
      num_running += sequence->status == SequenceStatus::kRunning;
      num_finished += sequence->status == SequenceStatus::kFinished;
      if (sequence->status == SequenceStatus::kRunning) tables.push_back(&sequence->table);
    }
    QUIRE_CHECK(num_finished == request->num_finished && num_finished < request->sampling.n);
  }
  QUIRE_CHECK(num_waiting == static_cast<size_t>(scheduler_.waiting().size()));
  QUIRE_CHECK(num_running == scheduler_.running().size());
  QUIRE_CHECK(num_deadlines == deadlines_.size());
  QUIRE_CHECK(retired_.empty() && pipeline_.size() <= 1);
  // Performed, or withdrawn with the sequences that they were for.
  QUIRE_CHECK(blocks_.pending_copies().empty());
  if (tiers_ != nullptr) {
    tiers_->CheckInvariants();
    tiers_->AppendTables(tables);
  }
  blocks_.CheckInvariants(tables);
}

}  // namespace quire
