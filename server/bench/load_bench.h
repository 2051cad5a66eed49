// Closed-loop load on a running server over gRPC: every client sends its next request when the last one has ended.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/bench/summary.h"

namespace quire {

struct LoadBenchOptions {
  std::string target = "127.0.0.1:50051";
  int clients = 16;
  int requests_per_client = 4;
  int prefix_tokens = 0;   // The same for all requests, to measure prefix sharing.
  int input_tokens = 128;  // Each request's own, random.
  int output_tokens = 48;
  uint64_t seed = 1;
};

// Latencies in milliseconds. TTFT: sent until the first token. ITL: between two messages of a stream. TPOT: (E2EL -
// TTFT) / (tokens - 1). E2EL: sent until the last token.
struct LoadBenchResult {
  double duration_s = 0;
  int completed = 0;
  int failed = 0;
  std::string first_error;
  int64_t input_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
  Summary ttft, tpot, itl, e2el;
};

// `progress` is called with 0..1 from several threads; may be empty. UNAVAILABLE when no server answers.
absl::StatusOr<LoadBenchResult> RunLoadBench(const LoadBenchOptions& options,
                                             const std::function<void(float)>& progress);

}  // namespace quire
