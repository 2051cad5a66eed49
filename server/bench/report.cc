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
    absl::StrAppend(&out, absl::StrFormat("\n%8s %8s %8s %16s %12s %16s\n", "window", "windows", "tokens",
                                          "nats a token", "perplexity", "of last quarter"));
    for (const Perplexity& row : report.perplexity) {
      absl::StrAppend(&out, absl::StrFormat("%8d %8d %8d %16.5f %12.4f %16.4f\n", row.window_tokens, row.num_windows,
                                            row.num_tokens, row.mean_nll, row.perplexity, row.tail_perplexity));
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
  if (report.load) absl::StrAppend(&out, ToTable(*report.load));
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
                                 {"perplexity", row.perplexity},
                                 {"tail_perplexity", row.tail_perplexity}});
  }
  if (report.cache) {
    out["kv_cache"] = {{"recomputed_seconds", report.cache->recomputed_seconds},
                       {"cached_seconds", report.cache->cached_seconds},
                       {"ratio", report.cache->recomputed_seconds / report.cache->cached_seconds},
                       {"published_recomputed_seconds", kPublishedRecomputedSeconds},
                       {"published_cached_seconds", kPublishedCachedSeconds}};
  }
  if (report.load) out["load"] = ToJson(*report.load, /*detailed=*/false);
  return out.dump(2, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace) + "\n";
}

}  // namespace quire
