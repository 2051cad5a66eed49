#include "server/bench/offline_bench.h"

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

// Seconds from the first step until every sequence has ended.
absl::StatusOr<double> Time(Backend& backend, const Job& job) {
  EngineOptions options = backend.engine_options;
  options.blocks.enable_prefix_caching = false;
  options.recompute_always = job.recompute_always;
  Engine engine(options, *backend.runner);
  std::mt19937_64 random(job.seed);
  for (int i = 0; i < job.batch_size; ++i) {
    RETURN_IF_ERROR(engine.Submit(MakeRequest(job, options.vocab_size, i, random), absl::Now()));
  }
  const auto start = std::chrono::steady_clock::now();
  while (engine.HasWork()) {
    for (const SequenceOutput& output : engine.Step(absl::Now()).outputs) RETURN_IF_ERROR(output.status);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

absl::StatusOr<std::vector<BatchThroughput>> RunOfflineBench(Backend& backend, const OfflineBenchOptions& options,
                                                             const BenchProgress& progress) {
  std::vector<BatchThroughput> results;
  double work_total = 1, work_done = 0;
  for (const int batch_size : options.batch_sizes) work_total += batch_size;
  const auto report = [&] {
    if (progress) progress(static_cast<float>(work_done / work_total));
  };
  report();
  ASSIGN_OR_RETURN(const double warm_up, Time(backend, {1, options.input_tokens, 8, false, options.seed}));
  (void)warm_up;
  work_done += 1;
  for (const int batch_size : options.batch_sizes) {
    report();
    const Job whole{batch_size, options.input_tokens, options.output_tokens, backend.engine_options.recompute_always,
                    options.seed};
    Job prefill = whole;
    prefill.output_tokens = 1;
    ASSIGN_OR_RETURN(const double prefill_seconds, Time(backend, prefill));
    ASSIGN_OR_RETURN(const double whole_seconds, Time(backend, whole));
    results.push_back({batch_size, batch_size * options.input_tokens / prefill_seconds,
                       batch_size * (options.output_tokens - 1) / (whole_seconds - prefill_seconds)});
    work_done += batch_size;
  }
  report();
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
