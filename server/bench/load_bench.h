// Load on a running server, from options to results: workload, arrivals, transport, warm-up, run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/bench/load/arrivals.h"
#include "server/bench/load/load_report.h"
#include "server/bench/load/transport.h"
#include "server/bench/load/workload.h"

namespace quire {

struct LoadBenchOptions {
  TransportOptions transport;  // A URL goes before a target.
  WorkloadOptions workload;    // Times of its own go before `arrivals`.
  ArrivalOptions arrivals;     // With an infinite rate and max_concurrency: a closed loop of that many clients.
  int max_concurrency = 0;
  double think_s = 0;
  int warmup_conversations =
      0;  // Sent first, one after the other, and not counted. Random words of theirs do not come again.
  GoodputLimits goodput;
};

// `progress` is called with 0..1; may be empty. UNAVAILABLE when no server answers; INVALID_ARGUMENT for options that
// do not go together; requests that fail are results.
absl::StatusOr<LoadReport> RunLoadBench(const LoadBenchOptions& options, const std::function<void(float)>& progress);

}  // namespace quire
