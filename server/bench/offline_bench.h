// Throughput of the engine itself, without a network: how fast prompts are read and tokens are made at given batch
// sizes and prompt lengths.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/backend.h"

namespace quire {

struct OfflineBenchOptions {
  std::vector<int> batch_sizes = {1, 4, 16, 64};
  std::vector<int> input_lengths = {128};
  int output_tokens = 48;
  uint64_t seed = 1;
  bool steady_decode = false;
};

// Prompts are random token ids, nothing is cached, generation is greedy and ignores end tokens. Prefill: all prompts up
// to their first tokens. Decode: the time that output_tokens take beyond a run with one output token, over the tokens
// beyond the first. With steady_decode: output_tokens steps from when every sequence has its first token; for long
// prompts, beside which the difference of two runs would be noise.
struct BatchThroughput {
  int batch_size = 0;
  int input_tokens = 0;
  int output_tokens = 0;
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
};

using BenchProgress = std::function<void(float)>;

// One result for each prompt length and batch size, after a warm-up. The backend's engine options are used but for what
// the measurement fixes.
absl::StatusOr<std::vector<BatchThroughput>> RunOfflineBench(Backend& backend, const OfflineBenchOptions& options,
                                                             const BenchProgress& progress);

// Seconds for one greedy generation of `output_tokens` from a prompt of `input_tokens`, KV kept or recomputed at every
// step.
struct CacheComparison {
  double cached_seconds = 0;
  double recomputed_seconds = 0;
};
absl::StatusOr<CacheComparison> CompareWithRecomputation(Backend& backend, int input_tokens, int output_tokens);

}  // namespace quire
