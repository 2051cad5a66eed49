#include "server/bench/load/load_result.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr double kMsPerSecond = 1e3;

// The tokens that one message of a request stands for; HTTP does not tell, so they are taken as equal.
double TokensPerMessage(const LoadRecord& record) {
  return record.message_s.empty() ? 0 : static_cast<double>(record.output_tokens) / record.message_s.size();
}

bool Within(const RequestLatency& latency, const GoodputLimits& limits) {
  return latency.ttft_ms <= limits.ttft_ms && latency.tpot_ms <= limits.tpot_ms && latency.e2el_ms <= limits.e2el_ms;
}

void AddCompleted(const LoadRecord& record, const GoodputLimits& limits, LoadResult* result) {
  ++result->completed;
  result->input_tokens += record.usage.prompt_tokens;
  result->cached_tokens += record.usage.cached_tokens;
  result->output_tokens += record.output_tokens;
  if (Within(LatencyOf(record), limits)) ++result->good;
}

void AddFailed(const LoadRecord& record, LoadResult* result) {
  if (result->failed++ == 0) result->first_error = record.error_message;
  ++result->errors[record.error_kind];
}

}  // namespace

bool GoodputLimits::any() const { return std::isfinite(ttft_ms) || std::isfinite(tpot_ms) || std::isfinite(e2el_ms); }

absl::StatusOr<GoodputLimits> ParseGoodputLimits(const std::vector<std::string>& limits) {
  GoodputLimits parsed;
  for (const std::string& limit : limits) {
    const size_t colon = limit.find(':');
    const std::string name = limit.substr(0, colon);
    double* const target = name == "ttft"   ? &parsed.ttft_ms
                           : name == "tpot" ? &parsed.tpot_ms
                           : name == "e2el" ? &parsed.e2el_ms
                                            : nullptr;
    double value = 0;
    const bool number = colon != std::string::npos && absl::SimpleAtod(limit.substr(colon + 1), &value) && value >= 0;
    if (target == nullptr || !number) {
      return absl::InvalidArgumentError(
          absl::StrCat("--goodput must be ttft:MS, tpot:MS or e2el:MS, got \"", limit, "\""));
    }
    *target = value;
  }
  return parsed;
}

RequestLatency LatencyOf(const LoadRecord& record) {
  RequestLatency latency;
  latency.ttft_ms = (record.message_s.front() - record.intended_s) * kMsPerSecond;
  latency.e2el_ms = (record.message_s.back() - record.intended_s) * kMsPerSecond;
  if (record.output_tokens > 1) latency.tpot_ms = (latency.e2el_ms - latency.ttft_ms) / (record.output_tokens - 1);
  return latency;
}

LatencySamples CollectLatencies(const LoadRun& run) {
  LatencySamples samples;
  for (const LoadRecord& record : run.records) {
    if (!record.error_kind.empty()) continue;
    const RequestLatency latency = LatencyOf(record);
    samples.ttft.push_back(latency.ttft_ms);
    samples.e2el.push_back(latency.e2el_ms);
    if (record.output_tokens > 1) samples.tpot.push_back(latency.tpot_ms);
    for (size_t i = 1; i < record.message_s.size(); ++i) {
      samples.itl.push_back((record.message_s[i] - record.message_s[i - 1]) * kMsPerSecond);
    }
  }
  return samples;
}

LoadResult Evaluate(const LoadRun& run, const GoodputLimits& limits) {
  LoadResult result;
  result.duration_s = run.duration_s;
  result.skipped = run.skipped;
  std::vector<double> lag;
  for (const LoadRecord& record : run.records) {
    lag.push_back(record.lag_s * kMsPerSecond);
    if (record.error_kind.empty()) {
      AddCompleted(record, limits, &result);
    } else {
      AddFailed(record, &result);
    }
  }
  LatencySamples samples = CollectLatencies(run);
  result.ttft = Summarize(std::move(samples.ttft));
  result.tpot = Summarize(std::move(samples.tpot));
  result.itl = Summarize(std::move(samples.itl));
  result.e2el = Summarize(std::move(samples.e2el));
  result.lag = Summarize(std::move(lag));
  for (const Concurrency& open : RequestsInFlight(run)) {
    result.max_concurrent_requests = std::max(result.max_concurrent_requests, open.requests);
  }
  for (const double rate : OutputThroughput(run, 1.0).values) {
    result.max_output_tokens_per_s = std::max(result.max_output_tokens_per_s, rate);
  }
  return result;
}

TimeSeries OutputThroughput(const LoadRun& run, double step_s) {
  TimeSeries series{step_s, std::vector<double>(static_cast<size_t>(run.duration_s / step_s) + 1, 0.0)};
  for (const LoadRecord& record : run.records) {
    const double rate = TokensPerMessage(record) / step_s;
    for (const double at : record.message_s) {
      series.values[std::min(static_cast<size_t>(at / step_s), series.values.size() - 1)] += rate;
    }
  }
  return series;
}

std::vector<Concurrency> RequestsInFlight(const LoadRun& run) {
  std::vector<std::pair<double, int>> changes;
  for (const LoadRecord& record : run.records) {
    changes.emplace_back(record.sent_s, +1);
    changes.emplace_back(record.end_s, -1);
  }
  std::sort(changes.begin(), changes.end());  // At one time, ends before beginnings.
  std::vector<Concurrency> in_flight;
  int requests = 0;
  for (const auto& [at, change] : changes) {
    requests += change;
    in_flight.push_back({at, requests});
  }
  return in_flight;
}

}  // namespace quire
