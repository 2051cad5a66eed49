#include "engine/engine.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/runner/batch_builder.h"
#include "engine/types/status_macros.h"
#include "kernels/check.h"

namespace quire {
namespace {

BlockManagerOptions BlockOptions(const EngineOptions& options) {
  BlockManagerOptions blocks = options.blocks;
  if (options.recompute_always) blocks.enable_prefix_caching = false;
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
  return {request.num_prompt_tokens, request.num_cached_tokens, request.num_completion_tokens};
}

absl::Status CheckEmbedding(const GenerateRequest& request, int max_length) {
  if (static_cast<int64_t>(request.prompt.size()) > max_length) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt must have at most ", max_length, " tokens, got ", request.prompt.size()));
  }
  const SamplingParams& sampling = request.sampling;
  if (sampling.n != 1 || sampling.logprobs >= 0 || sampling.prompt_logprobs >= 0) {
    return absl::InvalidArgumentError(
        "sampling_params must ask for one sample and no log-probabilities of an embedding");
  }
  return absl::OkStatus();
}

}  // namespace

Engine::Engine(const EngineOptions& options, ModelRunner& runner)
    : options_(options),
      runner_(runner),
      blocks_(BlockOptions(options)),
      scheduler_({.max_num_seqs = options.max_num_seqs, .max_num_batched_tokens = options.max_num_batched_tokens},
                 blocks_) {
  QUIRE_CHECK(ValidateOptions(options).ok());
}

Engine::~Engine() {
  // A block table must be given back before it is destroyed.
  while (!requests_.empty()) Cancel(requests_.begin()->first);
}

absl::Status Engine::ValidateOptions(const EngineOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t minimum) {
    if (value >= minimum) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, " must be at least ", minimum, ", got ", value));
  };
  RETURN_IF_ERROR(at_least("vocab_size", options.vocab_size, 1));
  RETURN_IF_ERROR(at_least("num_blocks", options.blocks.num_blocks, 1));
  RETURN_IF_ERROR(at_least("block_size", options.blocks.block_size, 1));
  RETURN_IF_ERROR(at_least("max_model_len", options.max_model_len, 2));
  RETURN_IF_ERROR(at_least("max_num_seqs", options.max_num_seqs, 1));
  RETURN_IF_ERROR(at_least("max_num_batched_tokens", options.max_num_batched_tokens, options.max_num_seqs));
  RETURN_IF_ERROR(at_least("max_waiting_requests", options.max_waiting_requests, 1));
  RETURN_IF_ERROR(at_least("max_waiting_tokens", options.max_waiting_tokens, options.max_model_len));
  const int64_t pool = int64_t{options.blocks.num_blocks} * options.blocks.block_size;
  if (pool > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("num_blocks x block_size must be below 2^31 tokens, got ", pool));
  }
  for (TokenId token : options.eos_token_ids) {
    if (token < 0 || token >= options.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("eos_token_ids: ", token, " is not in the vocabulary"));
    }
  }
  return absl::OkStatus();
}

int Engine::MaxSequenceLength(const TenantShare& tenant) const {
  const int num_blocks =
      tenant.max_pages == 0 ? options_.blocks.num_blocks : std::min(tenant.max_pages, options_.blocks.num_blocks);
  return std::min(options_.max_model_len, num_blocks * options_.blocks.block_size);
}

absl::Status Engine::CheckRequest(const GenerateRequest& request, absl::Time now) const {
  const SamplingParams& sampling = request.sampling;
  RETURN_IF_ERROR(Validate(sampling, options_.vocab_size));
  const auto prompt_size = static_cast<int64_t>(request.prompt.size());
  if (prompt_size == 0) return absl::InvalidArgumentError("prompt must have at least one token");
  for (TokenId token : request.prompt) {
    if (token < 0 || token >= options_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("prompt: token ids must be in [0, ", options_.vocab_size, "), got ", token));
    }
  }
  if (sampling.n > options_.max_num_seqs) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling_params.n must be at most ", options_.max_num_seqs, " here, got ", sampling.n));
  }
  const int max_length = MaxSequenceLength(request.tenant);
  if (request.embed) {
    RETURN_IF_ERROR(CheckEmbedding(request, max_length));
  }
  const int64_t room = max_length - prompt_size;
  if (!request.embed && room < 1) {
    return absl::InvalidArgumentError(absl::StrCat("prompt must have at most ", max_length - 1,
                                                   " tokens to leave room for one new token, got ", prompt_size));
  }
  if (!request.embed && sampling.max_tokens > room) {
    return absl::InvalidArgumentError(absl::StrCat("sampling_params.max_tokens must be at most ", room,
                                                   " after a prompt of ", prompt_size, " tokens (", max_length,
                                                   " in all), got ", sampling.max_tokens));
  }
  if (requests_.contains(request.id)) {
    return absl::AlreadyExistsError(absl::StrCat("request ", request.id, " is still alive"));
  }
  RETURN_IF_ERROR(CheckDeadline(request, now));
  RETURN_IF_ERROR(CheckTenant(request));
  const FairQueue& waiting = scheduler_.waiting();
  if (waiting.size() >= options_.max_waiting_requests) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting.size(),
                                                     " sequences are waiting, of ", options_.max_waiting_requests,
                                                     " at most"));
  }
  if (waiting.num_tokens() + prompt_size > options_.max_waiting_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting.num_tokens(),
                                                     " tokens are waiting, of ", options_.max_waiting_tokens,
                                                     " at most"));
  }
  return absl::OkStatus();
}

absl::Status Engine::CheckDeadline(const GenerateRequest& request, absl::Time now) const {
  if (request.deadline < now) return absl::DeadlineExceededError("the deadline was past before the request was queued");
  if (request.deadline == absl::InfiniteFuture() || tokens_per_second_ == 0) return absl::OkStatus();
  const bool reuse = request.sampling.prompt_logprobs < 0;
  const int cached = reuse ? blocks_.CountCached(request.prompt, request.cache_salt) : 0;
  const absl::Duration least = absl::Seconds(static_cast<double>(request.prompt.size() - cached) / tokens_per_second_);
  if (now + least <= request.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("the prompt alone takes ", absl::FormatDuration(least),
                                                  " to compute, and the deadline is in ",
                                                  absl::FormatDuration(request.deadline - now)));
}

absl::Status Engine::CheckTenant(const GenerateRequest& request) const {
  const TenantShare& tenant = request.tenant;
  const auto prompt_size = static_cast<int64_t>(request.prompt.size());
  if (tenant.max_queued_tokens == 0) return absl::OkStatus();
  if (prompt_size > tenant.max_queued_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("prompt must have at most ", tenant.max_queued_tokens,
                                                   " tokens, the tenant's max_queued_tokens, got ", prompt_size));
  }
  const TenantAccount* account = scheduler_.waiting().Find(tenant.id);
  const int64_t queued = account == nullptr ? 0 : account->waiting.num_tokens();
  if (queued + prompt_size > tenant.max_queued_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat("the tenant's queue is full: ", queued, " tokens wait, of ",
                                                     tenant.max_queued_tokens, " at most (max_queued_tokens)"));
  }
  return absl::OkStatus();
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
  retired_.clear();
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
  retired_.clear();
  return true;
}

StepOutput Engine::Step(absl::Time now) {
  EndExpired(now);
  absl::Status model_status;
  StepTimings timings;
  const absl::Time begun = options_.clock();
  const Schedule& schedule = scheduler_.Plan(now);
  if (schedule.num_tokens > 0) {
    BuildBatch(schedule, blocks_, batch_);
    const absl::Time planned = options_.clock();
    runner_.Launch(batch_);
    const auto results = runner_.Await();
    const absl::Time computed = options_.clock();
    if (results.ok()) {
      blocks_.FinishCopies();  // Before pages that they filled are released, and cached.
      Commit(schedule, *results, computed);
    } else {
      model_status = results.status();
      for (const ScheduledSequence& scheduled : schedule.sequences) {
        EndRequest(*scheduled.sequence->request, model_status);
      }
    }
    if (results.ok()) MeasureSpeed(schedule.num_tokens, Between(begun, computed));
    timings = {Between(begun, planned), Between(planned, computed), Between(computed, options_.clock())};
  }
  retired_.clear();
  return {std::exchange(outputs_, {}), schedule.num_tokens, timings, std::move(model_status)};
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
  QUIRE_CHECK(results.size() == batch_.logit_rows.size());
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
  if (request.ended) return;  // Another of its samples failed just now.
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const SampledToken& sampled) { return !sampled.status.ok(); });
  if (failed != results.end()) return EndRequest(request, failed->status);
  sequence.num_computed += scheduled.num_tokens;
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

EngineStats Engine::stats() const {
  EngineStats stats = totals_;
  stats.requests_running = scheduler_.num_running_requests();
  stats.requests_waiting = static_cast<int64_t>(requests_.size()) - stats.requests_running;
  stats.blocks = blocks_.counts();
  stats.preemptions_total = scheduler_.num_preemptions();
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
  QUIRE_CHECK(retired_.empty());
  // Performed, or withdrawn with the sequences that they were for.
  QUIRE_CHECK(blocks_.pending_copies().empty());
  blocks_.CheckInvariants(tables);
}

}  // namespace quire
