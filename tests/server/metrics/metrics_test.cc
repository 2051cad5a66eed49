#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/server/metrics/samples.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

MetricsOptions SomeOptions() {
  return {.model_name = "smol",
          .architecture = "llama",
          .max_model_len = 2048,
          .cache = {.block_size = 16, .num_blocks = 100, .dtype = "int8/int4", .prefix_caching = true}};
}

constexpr char kLabels[] = R"({engine="0",model_name="smol"})";

double Value(const Metrics& metrics, const std::string& sample) {
  const auto samples = ParseSamples(metrics.Render());
  const auto it = samples.find(sample);
  EXPECT_NE(it, samples.end()) << sample;
  return it == samples.end() ? -1 : it->second;
}

double Vllm(const Metrics& metrics, const std::string& name) { return Value(metrics, "vllm:" + name + kLabels); }

double Bucket(const Metrics& metrics, const std::string& name, const std::string& bound) {
  return Value(metrics, "vllm:" + name + R"(_bucket{engine="0",model_name="smol",le=")" + bound + R"("})");
}

double Finished(const Metrics& metrics, const std::string& reason) {
  return Value(metrics,
               R"(vllm:request_success_total{engine="0",finished_reason=")" + reason + R"(",model_name="smol"})");
}

RequestRecord SomeRecord() {
  RequestRecord record;
  record.max_tokens = 50;
  record.finish_reasons = {FinishReason::kStop};
  record.longest_sample = 11;
  record.usage = {.prompt_tokens = 40, .cached_tokens = 32, .completion_tokens = 11};
  record.timings = {absl::Milliseconds(100), absl::Milliseconds(200), absl::Seconds(2)};
  record.first_token = absl::Milliseconds(310);
  record.latency = absl::Milliseconds(2310);
  return record;
}

StepReport SomeStep() {
  StepReport report;
  report.num_scheduled_tokens = 8;
  report.timings = {absl::Milliseconds(1), absl::Milliseconds(20), absl::Milliseconds(2)};
  report.stats.requests_running = 3;
  report.stats.requests_waiting = 2;
  report.stats.blocks = {.total = 100, .used = 28, .cached = 12, .free = 60, .leased = 9, .pinned = 4, .yielding = 3};
  report.stats.leases = 2;
  report.stats.prompt_tokens_total = 400;
  report.stats.cached_tokens_total = 100;
  report.stats.completion_tokens_total = 70;
  report.stats.preemptions_total = 1;
  return report;
}

TEST(Metrics, ShowsAServerThatHasDoneNothingYet) {
  const Metrics metrics(SomeOptions());
  EXPECT_EQ(Vllm(metrics, "num_requests_running"), 0);
  EXPECT_EQ(Vllm(metrics, "time_to_first_token_seconds_count"), 0);
  EXPECT_EQ(Finished(metrics, "stop"), 0);
  EXPECT_EQ(Value(metrics, R"(quire_kv_pages{state="free"})"), 100);
  EXPECT_EQ(Value(metrics, R"(quire_requests_refused_total{reason="overloaded"})"), 0);
  EXPECT_EQ(
      Value(metrics, R"(vllm:cache_config_info{block_size="16",cache_dtype="int8/int4",enable_prefix_caching="True",)"
                     R"(engine="0",model_name="smol",num_gpu_blocks="100"})"),
      1);
  EXPECT_GT(Value(metrics, "process_resident_memory_bytes"), 0);
}

TEST(Metrics, FollowsTheEngineFromStepToStep) {
  Metrics metrics(SomeOptions());
  StepReport report = SomeStep();
  metrics.StepDone(report);
  report.stats.requests_running = 1;
  report.stats.completion_tokens_total = 73;
  report.stats.steps_ahead_total = 5;
  report.stats.steps_given_up_total = 2;
  report.num_scheduled_tokens = 9;
  metrics.StepDone(report);
  EXPECT_EQ(Vllm(metrics, "num_requests_running"), 1);
  EXPECT_EQ(Vllm(metrics, "num_requests_waiting"), 2);
  EXPECT_EQ(Vllm(metrics, "kv_cache_usage_perc"), 0.25);
  EXPECT_EQ(Vllm(metrics, "prompt_tokens_total"), 400);
  EXPECT_EQ(Vllm(metrics, "prefix_cache_queries_total"), 400);
  EXPECT_EQ(Vllm(metrics, "prefix_cache_hits_total"), 100);
  EXPECT_EQ(Vllm(metrics, "generation_tokens_total"), 73);
  EXPECT_EQ(Vllm(metrics, "num_preemptions_total"), 1);
  EXPECT_EQ(Bucket(metrics, "iteration_tokens_total", "8"), 1) << "a bound belongs to its bucket";
  EXPECT_EQ(Bucket(metrics, "iteration_tokens_total", "16"), 2);
  EXPECT_EQ(Vllm(metrics, "iteration_tokens_total_sum"), 17);
  EXPECT_EQ(Value(metrics, R"(quire_kv_pages{state="cached"})"), 12);
  EXPECT_EQ(Value(metrics, R"(quire_kv_pages_leased{kind="preferred"})"), 5);
  EXPECT_EQ(Value(metrics, R"(quire_kv_pages_leased{kind="pinned"})"), 4);
  EXPECT_EQ(Value(metrics, "quire_leases"), 2);
  EXPECT_EQ(Value(metrics, "quire_step_seconds_count"), 2);
  EXPECT_EQ(Value(metrics, "quire_steps_ahead_total"), 5);
  EXPECT_EQ(Value(metrics, "quire_steps_given_up_total"), 2);
  EXPECT_NEAR(Value(metrics, R"(quire_step_part_seconds_total{part="model"})"), 0.04, 1e-9);
}

TEST(Metrics, CountsNoStepInWhichNothingRan) {
  Metrics metrics(SomeOptions());
  StepReport report = SomeStep();
  report.num_scheduled_tokens = 0;
  metrics.StepDone(report);
  EXPECT_EQ(Vllm(metrics, "iteration_tokens_total_count"), 0);
  EXPECT_EQ(Value(metrics, "quire_step_seconds_count"), 0);
  EXPECT_EQ(Vllm(metrics, "num_requests_running"), 3);
}

TEST(Metrics, AsksNothingOfAPrefixCacheThatIsOff) {
  MetricsOptions options = SomeOptions();
  options.cache.prefix_caching = false;
  Metrics metrics(options);
  metrics.StepDone(SomeStep());
  EXPECT_EQ(Vllm(metrics, "prefix_cache_queries_total"), 0);
  EXPECT_EQ(Vllm(metrics, "prompt_tokens_total"), 400);
}

TEST(Metrics, ObservesARequestThatEnded) {
  Metrics metrics(SomeOptions());
  metrics.RequestOver(SomeRecord());
  EXPECT_EQ(Finished(metrics, "stop"), 1);
  EXPECT_NEAR(Vllm(metrics, "e2e_request_latency_seconds_sum"), 2.31, 1e-9);
  EXPECT_NEAR(Vllm(metrics, "request_queue_time_seconds_sum"), 0.1, 1e-9);
  EXPECT_NEAR(Vllm(metrics, "request_prefill_time_seconds_sum"), 0.2, 1e-9);
  EXPECT_NEAR(Vllm(metrics, "request_decode_time_seconds_sum"), 2, 1e-9);
  EXPECT_NEAR(Vllm(metrics, "request_inference_time_seconds_sum"), 2.2, 1e-9);
  EXPECT_NEAR(Vllm(metrics, "request_time_per_output_token_seconds_sum"), 0.2, 1e-9);
  EXPECT_EQ(Vllm(metrics, "request_prompt_tokens_sum"), 40);
  EXPECT_EQ(Vllm(metrics, "request_prefill_kv_computed_tokens_sum"), 8);
  EXPECT_EQ(Vllm(metrics, "request_generation_tokens_sum"), 11);
  EXPECT_EQ(Vllm(metrics, "request_params_n_sum"), 1);
  EXPECT_EQ(Vllm(metrics, "request_params_max_tokens_sum"), 50);
}

TEST(Metrics, TellsHowRequestsEnded) {
  Metrics metrics(SomeOptions());
  RequestRecord record = SomeRecord();
  record.finish_reasons = {FinishReason::kStop, FinishReason::kLength};
  metrics.RequestOver(record);
  for (const auto code : {absl::StatusCode::kCancelled, absl::StatusCode::kDeadlineExceeded,
                          absl::StatusCode::kInternal, absl::StatusCode::kUnavailable}) {
    record.status = code;
    metrics.RequestOver(record);
  }
  EXPECT_EQ(Finished(metrics, "stop"), 0);
  EXPECT_EQ(Finished(metrics, "length"), 1);
  EXPECT_EQ(Finished(metrics, "abort"), 2);
  EXPECT_EQ(Finished(metrics, "error"), 2);
  EXPECT_EQ(Vllm(metrics, "e2e_request_latency_seconds_count"), 1) << "of those that were served";
}

TEST(Metrics, CountsRefusalsByReasonWhereverTheyCameFrom) {
  Metrics metrics(SomeOptions());
  metrics.RequestRefused(Protocol::kQuire, absl::StatusCode::kNotFound);
  metrics.RequestRefused(Protocol::kQuire, absl::StatusCode::kUnavailable);
  metrics.RequestRefused(Protocol::kQuire, absl::StatusCode::kDataLoss);
  metrics.RequestTaken(Protocol::kQuire);
  RequestRecord record = SomeRecord();
  record.status = absl::StatusCode::kResourceExhausted;
  metrics.RequestOver(record);
  const auto refused = [&](const std::string& reason) {
    return Value(metrics, R"(quire_requests_refused_total{reason=")" + reason + R"("})");
  };
  EXPECT_EQ(refused("unknown_model"), 1);
  EXPECT_EQ(refused("shutting_down"), 1);
  EXPECT_EQ(refused("other"), 1);
  EXPECT_EQ(refused("overloaded"), 1);
  EXPECT_EQ(Finished(metrics, "error"), 0);
  EXPECT_EQ(Value(metrics, R"(quire_requests_total{protocol="quire"})"), 4);
}

TEST(Metrics, HasBucketsForTokensUpToTheLengthThatIsServed) {
  const std::string text = Metrics(SomeOptions()).Render();
  EXPECT_THAT(text, HasSubstr(R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="smol",le="2000"})"));
  EXPECT_THAT(text, testing::Not(HasSubstr(R"(le="5000")")));
}

TEST(Metrics, KeepsSumsFromFallingWhenTheClockIsSetBack) {
  Metrics metrics(SomeOptions());
  metrics.NextToken(-absl::Seconds(3600));
  EXPECT_EQ(Vllm(metrics, "inter_token_latency_seconds_sum"), 0);
  EXPECT_EQ(Vllm(metrics, "inter_token_latency_seconds_count"), 1);
}

TEST(Metrics, EscapesTheModelsName) {
  MetricsOptions options = SomeOptions();
  options.model_name = "a\"b\\c\nd";
  EXPECT_THAT(Metrics(options).Render(), HasSubstr(R"(model_name="a\"b\\c\nd")"));
}

TEST(Metrics, CanBeReadWhileItIsWritten) {
  Metrics metrics(SomeOptions());
  std::thread reader([&metrics] {
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(metrics.Render().empty());
  });
  std::thread front([&metrics] {
    for (int i = 0; i < 2000; ++i) metrics.RequestTaken(Protocol::kQuire);
  });
  for (int i = 0; i < 2000; ++i) {
    metrics.StepDone(SomeStep());
    metrics.NextToken(absl::Milliseconds(5));
    metrics.RequestOver(SomeRecord());
  }
  reader.join();
  front.join();
  EXPECT_EQ(Vllm(metrics, "inter_token_latency_seconds_count"), 2000);
  EXPECT_EQ(Value(metrics, R"(quire_requests_total{protocol="quire"})"), 2000);
}

TEST(Metrics, TellsBalancersHowBusyTheServerIs) {
  Metrics metrics(SomeOptions());
  metrics.StepDone(SomeStep());
  const ServerLoad load = metrics.Load();
  EXPECT_EQ(load.kv_cache_usage, 0.25);
  EXPECT_EQ(load.requests_running, 3);
  EXPECT_EQ(load.requests_waiting, 2);
  EXPECT_GT(load.utilization.memory, 0);
  EXPECT_LE(load.utilization.memory, 1);
}

}  // namespace
}  // namespace quire
