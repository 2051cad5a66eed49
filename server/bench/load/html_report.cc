#include "server/bench/load/html_report.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/bench/load/svg_chart.h"

namespace quire {
namespace {

// More points than the eye can tell apart only make the page heavy.
constexpr size_t kMaxPoints = 1500;
constexpr size_t kTimeSteps = 120;

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --ink: #1d2530; --quiet: #667080; --rule: #dde1e7; --paper: #fff; --s0: #2563a8;
  --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --quiet: #98a2b3; --rule: #333b47; --paper: #14181e;
  --s0: #6ea8e6; --mark: #f0883e; } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1.5rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p.sub { color: var(--quiet); margin-top: .2rem; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; }
.tile { border: 1px solid var(--rule); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .85rem; }
.charts { display: grid; margin-top: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--rule); text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--quiet); font-weight: 500; }
td.text { text-align: left; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); }
svg text.title { font-size: 13px; font-weight: 600; fill: var(--ink); }
.axis { stroke: var(--quiet); } .grid { stroke: var(--rule); } .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .line.s0 { stroke: var(--s0); }
.dots.s0 { fill: var(--s0); fill-opacity: .55; }
)";

// Every n-th value, and the last, so that at most about kMaxPoints are left.
template <typename T>
std::vector<T> Thin(const std::vector<T>& values) {
  const size_t step = values.size() / kMaxPoints + 1;
  std::vector<T> kept;
  for (size_t i = 0; i < values.size(); i += step) kept.push_back(values[i]);
  if (!values.empty() && (values.size() - 1) % step != 0) kept.push_back(values.back());
  return kept;
}

// What share of the requests took at most so long. The slowest half per cent would press the rest against the axis.
Chart CumulativeChart(const std::string& title, std::vector<double> values_ms, double limit_ms) {
  Chart chart{.title = title, .x_label = "milliseconds", .y_label = "% at most", .y_max = 100.0};
  if (std::isfinite(limit_ms)) chart.x_mark = limit_ms;
  std::sort(values_ms.begin(), values_ms.end());
  std::vector<ChartPoint> points;
  for (size_t i = 0; i < values_ms.size(); ++i) {
    const double percent = 100.0 * static_cast<double>(i + 1) / static_cast<double>(values_ms.size());
    if (percent > 99.5 && i > 0 && values_ms.size() > 200) break;
    points.push_back({values_ms[i], percent});
  }
  chart.series = {{ChartSeries::Style::kSteps, Thin(points)}};
  return chart;
}

std::string CumulativeCharts(const LoadReport& report) {
  LatencySamples samples = CollectLatencies(report.run);
  const GoodputLimits& limits = report.goodput;
  return absl::StrCat(ToSvg(CumulativeChart("Time to first token", std::move(samples.ttft), limits.ttft_ms)),
                      ToSvg(CumulativeChart("Time per output token", std::move(samples.tpot), limits.tpot_ms)),
                      ToSvg(CumulativeChart("Inter-token latency", std::move(samples.itl), INFINITY)),
                      ToSvg(CumulativeChart("End to end", std::move(samples.e2el), limits.e2el_ms)));
}

std::string OverTime(const LoadRun& run, const char* title, const char* y_label, ChartSeries series) {
  return ToSvg({.title = title,
                .x_label = "seconds",
                .y_label = y_label,
                .series = {std::move(series)},
                .x_max = run.duration_s});
}

std::string FirstTokensOverTime(const LoadRun& run) {
  std::vector<ChartPoint> points;
  for (const LoadRecord& record : run.records) {
    if (record.error_kind.empty()) points.push_back({record.intended_s, LatencyOf(record).ttft_ms});
  }
  return OverTime(run, "Time to first token, by when requests were due", "milliseconds",
                  {ChartSeries::Style::kDots, Thin(points)});
}

std::string ThroughputOverTime(const LoadRun& run) {
  const TimeSeries series = OutputThroughput(run, std::max(run.duration_s / kTimeSteps, 0.1));
  std::vector<ChartPoint> points;
  for (size_t i = 0; i < series.values.size(); ++i) {
    points.push_back({static_cast<double>(i) * series.step_s, series.values[i]});
  }
  return OverTime(run, "Output throughput", "tokens a second", {ChartSeries::Style::kLine, std::move(points)});
}

std::string InFlightOverTime(const LoadRun& run) {
  std::vector<ChartPoint> points;
  for (const Concurrency& open : RequestsInFlight(run)) {
    points.push_back({open.since_s, static_cast<double>(open.requests)});
  }
  return OverTime(run, "Requests in flight", "requests", {ChartSeries::Style::kSteps, Thin(points)});
}

std::string Tile(const std::string& figure, const char* name) {
  return absl::StrCat("<div class=\"tile\"><b>", figure, "</b><span>", name, "</span></div>\n");
}

std::string Tiles(const LoadReport& report) {
  const LoadResult& result = report.result;
  std::string out = "<div class=\"tiles\">\n";
  absl::StrAppend(&out, Tile(absl::StrCat(result.completed), "requests completed"),
                  Tile(absl::StrCat(result.failed), "failed"),
                  Tile(absl::StrFormat("%.2f", result.PerSecond(result.completed)), "requests a second"));
  if (report.goodput.any()) {
    absl::StrAppend(&out, Tile(absl::StrFormat("%.2f", result.PerSecond(result.good)), "of them within the limits"));
  }
  absl::StrAppend(&out, Tile(absl::StrFormat("%.0f", result.PerSecond(result.output_tokens)), "output tokens a second"),
                  Tile(absl::StrFormat("%.0f ms", result.ttft.median), "median time to first token"),
                  Tile(absl::StrFormat("%.1f ms", result.tpot.median), "median time per output token"), "</div>\n");
  return out;
}

std::string LatencyRow(const char* name, const Summary& s) {
  std::string row = absl::StrCat("<tr><td>", name, "</td>");
  for (const double value : {s.mean, s.std, s.median, s.p90, s.p95, s.p99}) {
    absl::StrAppendFormat(&row, "<td>%.2f</td>", value);
  }
  return row + "</tr>\n";
}

std::string LatencyTable(const LoadResult& result) {
  return absl::StrCat(
      "<table><tr><th>milliseconds</th><th>mean</th><th>std</th><th>median</th><th>p90</th><th>p95</th><th>p99</th></"
      "tr>\n",
      LatencyRow("Time to first token", result.ttft), LatencyRow("Time per output token", result.tpot),
      LatencyRow("Inter-token latency", result.itl), LatencyRow("End to end", result.e2el),
      LatencyRow("Generator&#39;s own lag", result.lag), "</table>\n");
}

std::string TextRow(const std::string& name, const std::string& value) {
  return absl::StrCat("<tr><td>", EscapeHtml(name), "</td><td class=\"text\">", EscapeHtml(value), "</td></tr>\n");
}

std::string Errors(const LoadResult& result) {
  if (result.failed == 0) return "";
  std::string out = "<h2>Errors</h2>\n<table>\n";
  for (const auto& [kind, count] : result.errors) absl::StrAppend(&out, TextRow(kind, absl::StrCat(count)));
  absl::StrAppend(&out, TextRow("the first", result.first_error));
  if (result.skipped > 0) absl::StrAppend(&out, TextRow("turns not sent after one", absl::StrCat(result.skipped)));
  return out + "</table>\n";
}

std::string Facts(const LoadReport& report) {
  const LoadResult& result = report.result;
  std::string out = "<h2>How it was measured</h2>\n<table>\n";
  for (const auto& [name, value] : report.settings) absl::StrAppend(&out, TextRow(name, value));
  absl::StrAppend(
      &out, TextRow("duration", absl::StrFormat("%.2f s", result.duration_s)),
      TextRow("prompt tokens (of which cached)", absl::StrFormat("%d (%d)", result.input_tokens, result.cached_tokens)),
      TextRow("output tokens", absl::StrCat(result.output_tokens)),
      TextRow("most requests at once", absl::StrCat(result.max_concurrent_requests)),
      TextRow("most output tokens in a second", absl::StrFormat("%.0f", result.max_output_tokens_per_s)),
      TextRow("the generator's share of a processor", absl::StrFormat("%.0f %%", report.client_cpu * 100)));
  return out + "</table>\n";
}

}  // namespace

std::string ToHtml(const LoadReport& report) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>quire bench "
      "serve</title>\n<style>",
      kStyle, "</style>\n</head>\n<body>\n<h1>", EscapeHtml(report.model), " under load</h1>\n<p class=\"sub\">",
      EscapeHtml(report.server), "</p>\n", Tiles(report), "<h2>Latencies</h2>\n", LatencyTable(report.result),
      "<div class=\"charts\">\n", CumulativeCharts(report), "</div>\n<h2>Over time</h2>\n<div class=\"charts\">\n",
      FirstTokensOverTime(report.run), ThroughputOverTime(report.run), InFlightOverTime(report.run), "</div>\n",
      Errors(report.result), Facts(report), "</body>\n</html>\n");
}

}  // namespace quire
