// VllmMetrics: what vLLM tells of itself, under vLLM's names, labels and buckets, so that boards, alerts and gateways
// made for it show a Quire without change. What has no meaning here is left out rather than filled with zeros.
#pragma once

#include <prometheus/registry.h>

#include "absl/time/time.h"
#include "server/metrics/families.h"
#include "server/metrics/metrics_options.h"
#include "server/metrics/step_report.h"
#include "server/request_record.h"

namespace quire {

class VllmMetrics {
 public:
  // Adds its families to `registry`, which outlives this object.
  VllmMetrics(prometheus::Registry& registry, const MetricsOptions& options);

  // On one thread, the stream thread, all of these.
  void StepDone(const StepReport& report);
  void FirstToken(absl::Duration since_arrival) { Observe(time_to_first_token_, since_arrival); }
  void NextToken(absl::Duration since_last) { Observe(inter_token_latency_, since_last); }
  // Of a request that was taken on.
  void RequestOver(const RequestRecord& record);

  // As of the last step. Any thread.
  double running() const { return num_requests_running_.Value(); }
  double waiting() const { return num_requests_waiting_.Value(); }
  double kv_cache_usage() const { return kv_cache_usage_perc_.Value(); }

 private:
  struct Adder;
  VllmMetrics(const Adder& add, const CacheConfig& cache);

  void ObserveSizes(const RequestRecord& record);
  void ObserveTimes(const RequestRecord& record);

  const bool prefix_caching_;

  prometheus::Gauge& num_requests_running_;
  prometheus::Gauge& num_requests_waiting_;
  prometheus::Gauge& kv_cache_usage_perc_;
  TotalCounter prefix_cache_queries_;
  TotalCounter prefix_cache_hits_;
  TotalCounter num_preemptions_;
  TotalCounter prompt_tokens_;
  TotalCounter prompt_tokens_cached_;
  TotalCounter generation_tokens_;
  prometheus::Histogram& iteration_tokens_;

  prometheus::Histogram& time_to_first_token_;
  prometheus::Histogram& inter_token_latency_;
  prometheus::Histogram& request_time_per_output_token_;
  prometheus::Histogram& e2e_request_latency_;
  prometheus::Histogram& request_queue_time_;
  prometheus::Histogram& request_inference_time_;
  prometheus::Histogram& request_prefill_time_;
  prometheus::Histogram& request_decode_time_;

  prometheus::Histogram& request_prompt_tokens_;
  prometheus::Histogram& request_generation_tokens_;
  prometheus::Histogram& request_prefill_kv_computed_tokens_;
  prometheus::Histogram& request_max_num_generation_tokens_;
  prometheus::Histogram& request_params_n_;
  prometheus::Histogram& request_params_max_tokens_;

  prometheus::Counter& finished_stop_;
  prometheus::Counter& finished_length_;
  prometheus::Counter& finished_abort_;
  prometheus::Counter& finished_error_;
};

}  // namespace quire
