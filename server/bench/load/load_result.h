// What a run under load amounts to: the figures that load generators report.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/bench/load/load_generator.h"
#include "server/bench/summary.h"

namespace quire {

// What a request must stay within to count as good, in milliseconds.
struct GoodputLimits {
  double ttft_ms = std::numeric_limits<double>::infinity();
  double tpot_ms = std::numeric_limits<double>::infinity();
  double e2el_ms = std::numeric_limits<double>::infinity();

  bool any() const;
};

// Of {"ttft:500", "tpot:50"}. INVALID_ARGUMENT names the part that is wrong.
absl::StatusOr<GoodputLimits> ParseGoodputLimits(const std::vector<std::string>& limits);

// Of one completed request, in milliseconds. TTFT: from when it should have been sent until its first token. E2EL:
// until its last token. TPOT: (E2EL - TTFT) / (tokens - 1), 0 for a single token.
struct RequestLatency {
  double ttft_ms = 0;
  double tpot_ms = 0;
  double e2el_ms = 0;
};
RequestLatency LatencyOf(const LoadRecord& record);

// Of all completed requests, in milliseconds: RequestLatency (TPOT of requests with more than one token), and ITL, the
// time between two messages of a stream.
struct LatencySamples {
  std::vector<double> ttft, tpot, itl, e2el;
};
LatencySamples CollectLatencies(const LoadRun& run);

// A figure over the time of the run.
struct TimeSeries {
  double step_s = 0;  // Between two values; the first is of the time from 0 to step_s.
  std::vector<double> values;
};

struct LoadResult {
  double duration_s = 0;
  int completed = 0;
  int failed = 0;
  int skipped = 0;  // Turns after one that failed.
  int good = 0;     // Completed within the limits.
  int64_t input_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
  Summary ttft, tpot, itl, e2el;  // Of LatencySamples.
  Summary lag;                    // LoadRecord::lag_s of all requests, in milliseconds.
  int max_concurrent_requests = 0;
  double max_output_tokens_per_s = 0;  // In any one second since the beginning.
  std::map<std::string, int> errors;   // By kind.
  std::string first_error;

  double PerSecond(double count) const { return duration_s > 0 ? count / duration_s : 0; }
};

LoadResult Evaluate(const LoadRun& run, const GoodputLimits& limits);

// Output tokens a second, in steps of `step_s`.
TimeSeries OutputThroughput(const LoadRun& run, double step_s);

// How many requests were open, from when each was sent until it ended: the times at which that changed, and to what.
struct Concurrency {
  double since_s = 0;
  int requests = 0;
};
std::vector<Concurrency> RequestsInFlight(const LoadRun& run);

}  // namespace quire
