#include "server/bench/load/load_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quire {
namespace {

using nlohmann::json;

void AddSummary(const std::string& name, const Summary& summary, json* out) {
  (*out)["mean_" + name + "_ms"] = summary.mean;
  (*out)["median_" + name + "_ms"] = summary.median;
  (*out)["std_" + name + "_ms"] = summary.std;
  (*out)["p90_" + name + "_ms"] = summary.p90;
  (*out)["p95_" + name + "_ms"] = summary.p95;
  (*out)["p99_" + name + "_ms"] = summary.p99;
}

json SecondsBetween(const std::vector<double>& times_s) {
  json gaps = json::array();
  for (size_t i = 1; i < times_s.size(); ++i) gaps.push_back(times_s[i] - times_s[i - 1]);
  return gaps;
}

void AddRequests(const LoadRun& run, json* out) {
  for (const char* list : {"input_lens", "output_lens", "ttfts", "itls", "start_times", "errors"}) {
    (*out)[list] = json::array();
  }
  for (const LoadRecord& record : run.records) {
    (*out)["input_lens"].push_back(record.usage.prompt_tokens);
    (*out)["output_lens"].push_back(record.output_tokens);
    (*out)["ttfts"].push_back(record.message_s.empty() ? 0 : record.message_s.front() - record.intended_s);
    (*out)["itls"].push_back(SecondsBetween(record.message_s));
    (*out)["start_times"].push_back(record.intended_s);
    (*out)["errors"].push_back(record.error_kind.empty() ? ""
                                                         : absl::StrCat(record.error_kind, ": ", record.error_message));
  }
}

std::string SummaryLine(const char* name, const Summary& s) {
  return absl::StrFormat("%-26s %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, s.mean, s.median, s.p90, s.p95, s.p99);
}

}  // namespace

std::string ToTable(const LoadReport& report) {
  const LoadResult& result = report.result;
  std::string out = absl::StrFormat(
      "\n%d requests in %.2f s, %d failed; %.2f req/s; output %.0f tok/s; prompt tokens %d, of which cached %d\n",
      result.completed, result.duration_s, result.failed, result.PerSecond(result.completed),
      result.PerSecond(result.output_tokens), result.input_tokens, result.cached_tokens);
  if (report.goodput.any()) {
    absl::StrAppendFormat(&out, "within the limits: %d requests, %.2f req/s\n", result.good,
                          result.PerSecond(result.good));
  }
  for (const auto& [kind, count] : result.errors) absl::StrAppendFormat(&out, "error, %d times: %s\n", count, kind);
  if (result.failed > 0) absl::StrAppend(&out, "first error: ", result.first_error, "\n");
  if (result.skipped > 0) absl::StrAppendFormat(&out, "not sent, since a turn before failed: %d\n", result.skipped);
  absl::StrAppendFormat(&out, "%-26s %9s %9s %9s %9s %9s\n", "milliseconds", "mean", "median", "p90", "p95", "p99");
  absl::StrAppend(&out, SummaryLine("time to first token", result.ttft),
                  SummaryLine("time per output token", result.tpot), SummaryLine("inter-token latency", result.itl),
                  SummaryLine("end to end", result.e2el), SummaryLine("generator's own lag", result.lag));
  absl::StrAppendFormat(&out, "at most %d requests at once, %.0f tok/s; the generator took %.0f %% of a processor\n",
                        result.max_concurrent_requests, result.max_output_tokens_per_s, report.client_cpu * 100);
  return out;
}

json ToJson(const LoadReport& report, bool detailed) {
  const LoadResult& result = report.result;
  json out = {{"date", absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone())},
              {"backend", report.server},
              {"model_id", report.model},
              {"num_prompts", report.num_prompts},
              {"request_rate", std::isinf(report.request_rate) ? json("inf") : json(report.request_rate)},
              {"burstiness", report.burstiness},
              {"max_concurrency", report.max_concurrency > 0 ? json(report.max_concurrency) : json()},
              {"duration", result.duration_s},
              {"completed", result.completed},
              {"failed", result.failed},
              {"skipped", result.skipped},
              {"total_input_tokens", result.input_tokens},
              {"total_cached_tokens", result.cached_tokens},
              {"total_output_tokens", result.output_tokens},
              {"request_throughput", result.PerSecond(result.completed)},
              {"request_goodput", report.goodput.any() ? json(result.PerSecond(result.good)) : json()},
              {"output_throughput", result.PerSecond(result.output_tokens)},
              {"total_token_throughput", result.PerSecond(result.input_tokens + result.output_tokens)},
              {"max_output_tokens_per_s", result.max_output_tokens_per_s},
              {"max_concurrent_requests", result.max_concurrent_requests},
              {"errors_by_kind", result.errors},
              {"client_cpu", report.client_cpu}};
  if (result.failed > 0) out["first_error"] = result.first_error;
  for (const auto& [name, value] : report.settings) out["settings"][name] = value;
  AddSummary("ttft", result.ttft, &out);
  AddSummary("tpot", result.tpot, &out);
  AddSummary("itl", result.itl, &out);
  AddSummary("e2el", result.e2el, &out);
  AddSummary("lag", result.lag, &out);
  if (detailed) AddRequests(report.run, &out);
  return out;
}

}  // namespace quire
