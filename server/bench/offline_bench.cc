#include "server/bench/offline_bench.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

struct Job {
  int batch_size = 1;
  int input_tokens = 0;
  int output_tokens = 0;
  bool recompute_always = false;
  uint64_t seed = 1;
};

GenerateRequest MakeRequest(const Job& job, int vocab_size, int index, std::mt19937_64& random) {
  std::uniform_int_distribution<TokenId> token(0, vocab_size - 1);
  GenerateRequest request;
  request.id = index;
  for (int i = 0; i < job.input_tokens; ++i) request.prompt.push_back(token(random));
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  request.sampling.max_tokens = job.output_tokens;
  return request;
}

EngineOptions OptionsFor(const Backend& backend, const Job& job) {
  EngineOptions options = backend.engine_options;
  options.blocks.enable_prefix_caching = false;
  options.recompute_always = job.recompute_always;
  return options;
}

absl::Status SubmitAll(Engine& engine, const Job& job, int vocab_size) {
  std::mt19937_64 random(job.seed);
  for (int i = 0; i < job.batch_size; ++i) {
    RETURN_IF_ERROR(engine.Submit(MakeRequest(job, vocab_size, i, random), absl::Now()));
  }
  return absl::OkStatus();
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Seconds from the first step until every sequence has ended.
absl::StatusOr<double> Time(Backend& backend, const Job& job) {
  const EngineOptions options = OptionsFor(backend, job);
  Engine engine(options, *backend.runner);
  RETURN_IF_ERROR(SubmitAll(engine, job, options.vocab_size));
  const auto start = std::chrono::steady_clock::now();
  while (engine.HasWork()) {
    for (const SequenceOutput& output : engine.Step(absl::Now()).outputs) RETURN_IF_ERROR(output.status);
  }
  return SecondsSince(start);
}

// One step's new tokens. An error if a sequence ends: it was to go on until the measurement has ended.
absl::StatusOr<int> CountTokens(const StepOutput& step) {
  int tokens = 0;
  for (const SequenceOutput& output : step.outputs) {
    RETURN_IF_ERROR(output.status);
    if (output.last) return absl::OutOfRangeError("a sequence reached the model's length before decode was measured");
    tokens += static_cast<int>(output.tokens.size());
  }
  return tokens;
}

// Tokens a second over job.output_tokens steps, once every sequence has its first token.
absl::StatusOr<double> SteadyDecodeRate(Backend& backend, Job job) {
  const EngineOptions options = OptionsFor(backend, job);
  const int steps = job.output_tokens;
  // While later prompts are being read the first sequences generate already, how much is the scheduler's affair.
  job.output_tokens = options.max_model_len - job.input_tokens;
  Engine engine(options, *backend.runner);
  RETURN_IF_ERROR(SubmitAll(engine, job, options.vocab_size));
  std::vector<bool> started(job.batch_size);
  while (std::find(started.begin(), started.end(), false) != started.end()) {
    const StepOutput step = engine.Step(absl::Now());
    RETURN_IF_ERROR(CountTokens(step).status());
    for (const SequenceOutput& output : step.outputs) started[output.request] = true;
  }
  const auto start = std::chrono::steady_clock::now();
  int tokens = 0;
  for (int i = 0; i < steps; ++i) {
    ASSIGN_OR_RETURN(const int step_tokens, CountTokens(engine.Step(absl::Now())));
    tokens += step_tokens;
  }
  return tokens / SecondsSince(start);
}

absl::StatusOr<BatchThroughput> Measure(Backend& backend, const Job& whole, bool steady_decode) {
  BatchThroughput result{whole.batch_size, whole.input_tokens, whole.output_tokens};
  Job prefill = whole;
  prefill.output_tokens = 1;
  ASSIGN_OR_RETURN(const double prefill_seconds, Time(backend, prefill));
  result.prefill_tokens_per_second = whole.batch_size * whole.input_tokens / prefill_seconds;
  if (steady_decode) {
    ASSIGN_OR_RETURN(result.decode_tokens_per_second, SteadyDecodeRate(backend, whole));
  } else {
    ASSIGN_OR_RETURN(const double whole_seconds, Time(backend, whole));
    result.decode_tokens_per_second = whole.batch_size * (whole.output_tokens - 1) / (whole_seconds - prefill_seconds);
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<BatchThroughput>> RunOfflineBench(Backend& backend, const OfflineBenchOptions& options,
                                                             const BenchProgress& progress) {
  std::vector<Job> jobs;
  for (const int input_tokens : options.input_lengths) {
    for (const int batch_size : options.batch_sizes) {
      jobs.push_back(
          {batch_size, input_tokens, options.output_tokens, backend.engine_options.recompute_always, options.seed});
    }
  }
  double tokens_total = 0, tokens_done = 0;
  for (const Job& job : jobs) tokens_total += job.batch_size * job.input_tokens;
  std::vector<BatchThroughput> results;
  if (progress) progress(0);
  ASSIGN_OR_RETURN(const double warm_up, Time(backend, {1, options.input_lengths.front(), 8, false, options.seed}));
  (void)warm_up;
  for (const Job& job : jobs) {
    ASSIGN_OR_RETURN(results.emplace_back(), Measure(backend, job, options.steady_decode));
    tokens_done += job.batch_size * job.input_tokens;
    if (progress) progress(static_cast<float>(tokens_done / tokens_total));
  }
  return results;
}

absl::StatusOr<CacheComparison> CompareWithRecomputation(Backend& backend, int input_tokens, int output_tokens) {
  CacheComparison comparison;
  ASSIGN_OR_RETURN(const double warm_up, Time(backend, {1, input_tokens, 8, false, 1}));
  (void)warm_up;
  ASSIGN_OR_RETURN(comparison.cached_seconds, Time(backend, {1, input_tokens, output_tokens, false, 1}));
  ASSIGN_OR_RETURN(comparison.recomputed_seconds, Time(backend, {1, input_tokens, output_tokens, true, 1}));
  return comparison;
}

}  // namespace quire
