// QuireMetrics: what Quire tells of itself beyond what VllmMetrics has a name for.
#pragma once

#include <prometheus/registry.h>

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/metrics/families.h"
#include "server/metrics/metrics_options.h"
#include "server/metrics/step_report.h"
#include "server/request_origin.h"

namespace quire {

// Of one tier of pages outside the pool.
class TierMetrics {
 public:
  TierMetrics(prometheus::Registry& registry, const std::string& tier);
  void Follow(const TierStats& stats);

 private:
  prometheus::Gauge& pages_;
  prometheus::Gauge& bytes_;
  TotalCounter read_;
  TotalCounter written_;
  TotalCounter evicted_;
  TotalCounter refused_;
  TotalCounter failures_;
};

class QuireMetrics {
 public:
  // Adds its families to `registry`, which outlives this object.
  QuireMetrics(prometheus::Registry& registry, const MetricsOptions& options);

  // Any thread. A request that came by a protocol, and whether it was taken on.
  void RequestCame(Protocol protocol) { requests_.at(protocol)->Increment(); }
  void RequestRefused(absl::StatusCode code);
  void StreamOpened() { streams_open_.Increment(); }
  void StreamOver() { streams_open_.Decrement(); }

  // On the stream thread.
  void StepDone(const StepReport& report);

 private:
  std::map<Protocol, prometheus::Counter*> requests_;
  std::map<std::string_view, prometheus::Counter*> refused_;
  prometheus::Gauge& streams_open_;
  prometheus::Gauge& pages_used_;
  prometheus::Gauge& pages_cached_;
  prometheus::Gauge& pages_free_;
  prometheus::Gauge& pages_preferred_;
  prometheus::Gauge& pages_pinned_;
  prometheus::Gauge& leases_;
  TierMetrics host_tier_;
  TierMetrics disk_tier_;
  prometheus::Histogram& step_seconds_;
  TotalCounter steps_ahead_;
  TotalCounter steps_given_up_;
  prometheus::Counter& schedule_seconds_;
  prometheus::Counter& model_seconds_;
  prometheus::Counter& commit_seconds_;
};

}  // namespace quire
