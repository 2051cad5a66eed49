#include "server/metrics/vllm_metrics.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace quire {
namespace {

constexpr double kFirstTokenSeconds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                         1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
constexpr double kTokenSeconds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                    0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
constexpr double kRequestSeconds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
constexpr double kStepTokens[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
constexpr double kSamples[] = {1, 2, 5, 10, 20};

// 1, 2, 5, 10, 20, 50, ... up to `max`.
std::vector<double> TokenBuckets(int max) {
  std::vector<double> buckets;
  for (double power = 1; power <= max; power *= 10) {
    for (const double step : {1, 2, 5}) {
      if (step * power <= max) buckets.push_back(step * power);
    }
  }
  return buckets;
}

void AddCacheConfig(prometheus::Registry& registry, const MetricsOptions& options) {
  const CacheConfig& cache = options.cache;
  AddGauge(registry, "vllm:cache_config_info", "How the KV cache is laid out; always 1",
           {{"model_name", options.model_name},
            {"engine", "0"},
            {"block_size", std::to_string(cache.block_size)},
            {"num_gpu_blocks", std::to_string(cache.num_blocks)},
            {"cache_dtype", cache.dtype},
            {"enable_prefix_caching", cache.prefix_caching ? "True" : "False"}})
      .Set(1);
}

}  // namespace

// Every series has the same labels: one model, and the one engine that there is.
struct VllmMetrics::Adder {
  prometheus::Registry& registry;
  const Labels labels;
  const std::vector<double> token_buckets;

  prometheus::Counter& Counter(const std::string& name, const std::string& help) const {
    return AddCounter(registry, "vllm:" + name, help, labels);
  }
  prometheus::Gauge& Gauge(const std::string& name, const std::string& help) const {
    return AddGauge(registry, "vllm:" + name, help, labels);
  }
  prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                   std::span<const double> buckets) const {
    return AddHistogram(registry, "vllm:" + name, help, labels, buckets);
  }
  prometheus::Histogram& Tokens(const std::string& name, const std::string& help) const {
    return Histogram(name, help, token_buckets);
  }
  prometheus::Counter& Finished(const std::string& reason) const {
    Labels with_reason = labels;
    with_reason["finished_reason"] = reason;
    return AddCounter(registry, "vllm:request_success_total", "Requests that ended, by what ended them", with_reason);
  }
};

VllmMetrics::VllmMetrics(prometheus::Registry& registry, const MetricsOptions& options)
    : VllmMetrics(
          Adder{registry, {{"model_name", options.model_name}, {"engine", "0"}}, TokenBuckets(options.max_model_len)},
          options.cache) {
  AddCacheConfig(registry, options);
}

VllmMetrics::VllmMetrics(const Adder& add, const CacheConfig& cache)
    : prefix_caching_(cache.prefix_caching),
      num_requests_running_(add.Gauge("num_requests_running", "Requests of which a sequence holds pages")),
      num_requests_waiting_(add.Gauge("num_requests_waiting", "Requests in the engine that hold no pages yet")),
      kv_cache_usage_perc_(add.Gauge("kv_cache_usage_perc", "Share of the KV pages that requests hold, 0 to 1")),
      prefix_cache_queries_(add.Counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache")),
      prefix_cache_hits_(add.Counter("prefix_cache_hits_total", "Prompt tokens found in the prefix cache")),
      num_preemptions_(add.Counter("num_preemptions_total", "Sequences that had to give their pages back")),
      prompt_tokens_(add.Counter("prompt_tokens_total", "Prompt tokens of requests that got a first token")),
      prompt_tokens_cached_(add.Counter("prompt_tokens_cached_total", "Those of them that were not computed")),
      generation_tokens_(add.Counter("generation_tokens_total", "Tokens generated")),
      iteration_tokens_(add.Histogram("iteration_tokens_total", "Tokens computed in a step", kStepTokens)),
      time_to_first_token_(add.Histogram("time_to_first_token_seconds", "Arrival until the first token was delivered",
                                         kFirstTokenSeconds)),
      inter_token_latency_(add.Histogram("inter_token_latency_seconds",
                                         "Time between two tokens of a sample, as delivered", kTokenSeconds)),
      request_time_per_output_token_(add.Histogram("request_time_per_output_token_seconds",
                                                   "Mean time of a request's tokens after the first", kTokenSeconds)),
      e2e_request_latency_(add.Histogram("e2e_request_latency_seconds", "Arrival until the end", kRequestSeconds)),
      request_queue_time_(
          add.Histogram("request_queue_time_seconds", "Arrival until first scheduled", kRequestSeconds)),
      request_inference_time_(
          add.Histogram("request_inference_time_seconds", "First scheduled until the last token", kRequestSeconds)),
      request_prefill_time_(
          add.Histogram("request_prefill_time_seconds", "First scheduled until the first token", kRequestSeconds)),
      request_decode_time_(add.Histogram("request_decode_time_seconds", "First token until the last", kRequestSeconds)),
      request_prompt_tokens_(add.Tokens("request_prompt_tokens", "Tokens of a request's prompt")),
      request_generation_tokens_(add.Tokens("request_generation_tokens", "Tokens of all samples of a request")),
      request_prefill_kv_computed_tokens_(
          add.Tokens("request_prefill_kv_computed_tokens", "Tokens of a request's prompt that were not cached")),
      request_max_num_generation_tokens_(
          add.Tokens("request_max_num_generation_tokens", "Tokens of a request's longest sample")),
      request_params_n_(add.Histogram("request_params_n", "Samples that a request asks for", kSamples)),
      request_params_max_tokens_(add.Tokens("request_params_max_tokens", "max_tokens of requests that set it")),
      finished_stop_(add.Finished("stop")),
      finished_length_(add.Finished("length")),
      finished_abort_(add.Finished("abort")),
      finished_error_(add.Finished("error")) {}

void VllmMetrics::StepDone(const StepReport& report) {
  const EngineStats& stats = report.stats;
  num_requests_running_.Set(static_cast<double>(stats.requests_running));
  num_requests_waiting_.Set(static_cast<double>(stats.requests_waiting));
  kv_cache_usage_perc_.Set(static_cast<double>(stats.blocks.used - stats.blocks.yielding) /
                           static_cast<double>(std::max<int64_t>(stats.blocks.total, 1)));
  if (prefix_caching_) {
    prefix_cache_queries_.Follow(stats.prompt_tokens_total);
    prefix_cache_hits_.Follow(stats.cached_tokens_total);
  }
  num_preemptions_.Follow(stats.preemptions_total);
  prompt_tokens_.Follow(stats.prompt_tokens_total);
  prompt_tokens_cached_.Follow(stats.cached_tokens_total);
  generation_tokens_.Follow(stats.completion_tokens_total);
  if (report.num_scheduled_tokens > 0) iteration_tokens_.Observe(report.num_scheduled_tokens);
}

void VllmMetrics::RequestOver(const RequestRecord& record) {
  if (record.status == absl::StatusCode::kCancelled || record.status == absl::StatusCode::kDeadlineExceeded) {
    return finished_abort_.Increment();
  }
  if (record.status != absl::StatusCode::kOk) return finished_error_.Increment();
  // Of several samples, one that was cut short tells more than those that were not.
  const bool cut = std::count(record.finish_reasons.begin(), record.finish_reasons.end(), FinishReason::kLength) > 0;
  (cut ? finished_length_ : finished_stop_).Increment();
  ObserveSizes(record);
  ObserveTimes(record);
}

void VllmMetrics::ObserveSizes(const RequestRecord& record) {
  request_prompt_tokens_.Observe(record.usage.prompt_tokens);
  request_prefill_kv_computed_tokens_.Observe(record.usage.prompt_tokens - record.usage.cached_tokens);
  request_generation_tokens_.Observe(record.usage.completion_tokens);
  request_max_num_generation_tokens_.Observe(record.longest_sample);
  request_params_n_.Observe(record.num_samples);
  if (record.max_tokens > 0) request_params_max_tokens_.Observe(record.max_tokens);
}

void VllmMetrics::ObserveTimes(const RequestRecord& record) {
  Observe(e2e_request_latency_, record.latency);
  Observe(request_queue_time_, record.timings.queue);
  Observe(request_prefill_time_, record.timings.prefill);
  Observe(request_decode_time_, record.timings.decode);
  Observe(request_inference_time_, record.timings.prefill + record.timings.decode);
  if (record.longest_sample > 1) {
    Observe(request_time_per_output_token_, record.timings.decode / (record.longest_sample - 1));
  }
}

}  // namespace quire
