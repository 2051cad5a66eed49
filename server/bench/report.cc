#include "server/bench/report.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quire {
namespace {

using nlohmann::json;

// The widely cited measurement on a T4 GPU, without and with the cache (5.21x).
constexpr double kPublishedRecomputedSeconds = 61.0;
constexpr double kPublishedCachedSeconds = 11.7;

void AddSummary(const std::string& name, const Summary& summary, json* out) {
  (*out)["mean_" + name + "_ms"] = summary.mean;
  (*out)["median_" + name + "_ms"] = summary.median;
  (*out)["std_" + name + "_ms"] = summary.std;
  (*out)["p90_" + name + "_ms"] = summary.p90;
  (*out)["p99_" + name + "_ms"] = summary.p99;
}

json LoadToJson(const LoadBenchResult& load) {
  json out = {{"duration", load.duration_s},
              {"completed", load.completed},
              {"failed", load.failed},
              {"total_input_tokens", load.input_tokens},
              {"total_cached_tokens", load.cached_tokens},
              {"total_output_tokens", load.output_tokens},
              {"request_throughput", load.completed / load.duration_s},
              {"output_throughput", load.output_tokens / load.duration_s},
              {"total_token_throughput", (load.input_tokens + load.output_tokens) / load.duration_s}};
  if (load.failed > 0) out["first_error"] = load.first_error;
  AddSummary("ttft", load.ttft, &out);
  AddSummary("tpot", load.tpot, &out);
  AddSummary("itl", load.itl, &out);
  AddSummary("e2el", load.e2el, &out);
  return out;
}

std::string SummaryLine(const char* name, const Summary& s) {
  return absl::StrFormat("%-26s %9.2f %9.2f %9.2f %9.2f\n", name, s.mean, s.median, s.p90, s.p99);
}

}  // namespace

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line)) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

std::string ToTable(const BenchReport& report) {
  std::string out = report.processor;
  if (!report.backend.empty()) absl::StrAppend(&out, "; ", report.backend);
  absl::StrAppend(&out, "\n");
  if (!report.throughput.empty()) {
    absl::StrAppend(&out, absl::StrFormat("\n%8s %8s %16s %16s\n", "prompt", "batch", "prefill tok/s", "decode tok/s"));
    for (const BatchThroughput& row : report.throughput) {
      absl::StrAppend(&out, absl::StrFormat("%8d %8d %16.0f %16.0f\n", row.input_tokens, row.batch_size,
                                            row.prefill_tokens_per_second, row.decode_tokens_per_second));
    }
  }
  if (!report.perplexity.empty()) {
    absl::StrAppend(&out, absl::StrFormat("\n%8s %8s %8s %16s %12s\n", "window", "windows", "tokens", "nats a token",
                                          "perplexity"));
    for (const Perplexity& row : report.perplexity) {
      absl::StrAppend(&out, absl::StrFormat("%8d %8d %8d %16.5f %12.4f\n", row.window_tokens, row.num_windows,
                                            row.num_tokens, row.mean_nll, row.perplexity));
    }
  }
  if (report.cache) {
    absl::StrAppend(&out, absl::StrFormat("\n%-26s %12s %12s %8s\n", "generation", "recomputed", "KV cached", "ratio"));
    absl::StrAppend(&out, absl::StrFormat("%-26s %10.2f s %10.2f s %7.2fx\n", "here", report.cache->recomputed_seconds,
                                          report.cache->cached_seconds,
                                          report.cache->recomputed_seconds / report.cache->cached_seconds));
    absl::StrAppend(&out,
                    absl::StrFormat("%-26s %10.2f s %10.2f s %7.2fx\n", "published (T4)", kPublishedRecomputedSeconds,
                                    kPublishedCachedSeconds, kPublishedRecomputedSeconds / kPublishedCachedSeconds));
  }
  if (report.load) {
    const LoadBenchResult& load = *report.load;
    absl::StrAppend(&out,
                    absl::StrFormat("\n%d requests in %.2f s, %d failed; %.2f req/s; output %.0f tok/s; prompt "
                                    "tokens %d, of which cached %d\n",
                                    load.completed, load.duration_s, load.failed, load.completed / load.duration_s,
                                    load.output_tokens / load.duration_s, load.input_tokens, load.cached_tokens));
    if (load.failed > 0) absl::StrAppend(&out, "first error: ", load.first_error, "\n");
    absl::StrAppend(&out, absl::StrFormat("%-26s %9s %9s %9s %9s\n", "milliseconds", "mean", "median", "p90", "p99"));
    absl::StrAppend(&out, SummaryLine("time to first token", load.ttft),
                    SummaryLine("time per output token", load.tpot), SummaryLine("inter-token latency", load.itl),
                    SummaryLine("end to end", load.e2el));
  }
  return out;
}

std::string ToJson(const BenchReport& report) {
  json out = {{"processor", report.processor}, {"backend", report.backend}};
  for (const BatchThroughput& row : report.throughput) {
    out["throughput"].push_back({{"batch_size", row.batch_size},
                                 {"input_tokens", row.input_tokens},
                                 {"output_tokens", row.output_tokens},
                                 {"prefill_tokens_per_second", row.prefill_tokens_per_second},
                                 {"decode_tokens_per_second", row.decode_tokens_per_second}});
  }
  for (const Perplexity& row : report.perplexity) {
    out["perplexity"].push_back({{"window_tokens", row.window_tokens},
                                 {"num_windows", row.num_windows},
                                 {"num_tokens", row.num_tokens},
                                 {"mean_nll", row.mean_nll},
                                 {"perplexity", row.perplexity}});
  }
  if (report.cache) {
    out["kv_cache"] = {{"recomputed_seconds", report.cache->recomputed_seconds},
                       {"cached_seconds", report.cache->cached_seconds},
                       {"ratio", report.cache->recomputed_seconds / report.cache->cached_seconds},
                       {"published_recomputed_seconds", kPublishedRecomputedSeconds},
                       {"published_cached_seconds", kPublishedCachedSeconds}};
  }
  if (report.load) out["load"] = LoadToJson(*report.load);
  return out.dump(2) + "\n";
}

}  // namespace quire
