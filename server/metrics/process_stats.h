// What the operating system knows of this process, and how busy it is.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/time/time.h"

namespace quire {

struct ProcessStats {
  double cpu_seconds = 0;         // User and system.
  double start_time_seconds = 0;  // Since the epoch.
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  int64_t open_fds = 0;
  int64_t max_fds = 0;
};

// Reads /proc; what cannot be read is 0.
ProcessStats ReadProcessStats();

// The same under the names that Prometheus's client libraries give it (process_*).
std::vector<prometheus::MetricFamily> ProcessFamilies(const ProcessStats& stats);

// Shares of the machine that this process takes, each in [0, 1].
struct Utilization {
  double cpu = 0;     // Of the processors that it may run on, over the last period.
  double memory = 0;  // Of what it has and could still get.
};

// Thread-safe. Measures at most once a period, so that it may be asked for every call.
class UtilizationMeter {
 public:
  static constexpr absl::Duration kPeriod = absl::Seconds(1);

  UtilizationMeter();
  Utilization Get(absl::Time now);

 private:
  std::mutex mutex_;
  absl::Time measured_;
  double cpu_seconds_ = 0;  // When it was measured.
  Utilization utilization_;
};

}  // namespace quire
