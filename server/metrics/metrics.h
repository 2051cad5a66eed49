// Metrics: everything that the server tells of itself to Prometheus and to load balancers. Threads that serve requests
// touch a few atomics; what each step did is recorded on the stream thread, so that the engine's own never waits here.
#pragma once

#include <prometheus/registry.h>

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/metrics/metrics_options.h"
#include "server/metrics/process_stats.h"
#include "server/metrics/quire_metrics.h"
#include "server/metrics/step_report.h"
#include "server/metrics/vllm_metrics.h"
#include "server/request_record.h"

namespace quire {

// How much of the server is taken, for whoever chooses between servers.
struct ServerLoad {
  Utilization utilization;
  double kv_cache_usage = 0;  // Share of the pages that requests hold.
  double requests_running = 0;
  double requests_waiting = 0;
};

class Metrics {
 public:
  explicit Metrics(const MetricsOptions& options) : vllm_(registry_, options), quire_(registry_, options) {}

  // Thread-safe, all of these.

  // A request was taken on; its stream is open until StreamOver.
  void RequestTaken(Protocol protocol);
  void StreamOver() { quire_.StreamOver(); }
  // A request was not taken on.
  void RequestRefused(Protocol protocol, absl::StatusCode code);

  // All metrics in Prometheus's text format, version 0.0.4.
  std::string Render() const;
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

  ServerLoad Load();

  // On one thread, the stream thread, all of these.

  void StepDone(const StepReport& report);
  void FirstToken(absl::Duration since_arrival) { vllm_.FirstToken(since_arrival); }
  void NextToken(absl::Duration since_last) { vllm_.NextToken(since_last); }
  // A request that was taken on has ended. The engine's refusals come this way, too.
  void RequestOver(const RequestRecord& record);

 private:
  prometheus::Registry registry_;
  VllmMetrics vllm_;
  QuireMetrics quire_;
  UtilizationMeter utilization_;
};

}  // namespace quire
