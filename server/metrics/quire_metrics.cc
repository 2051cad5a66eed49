#include "server/metrics/quire_metrics.h"

#include <string>

#include "server/version.h"

namespace quire {
namespace {

constexpr double kStepSeconds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

// Why a request was not taken on, as far as its code tells.
std::string_view RefusalReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return "invalid_request";
    case absl::StatusCode::kNotFound:
      return "unknown_model";
    case absl::StatusCode::kResourceExhausted:
      return "overloaded";
    case absl::StatusCode::kUnavailable:
      return "shutting_down";
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return "unsupported";
    default:
      return "other";
  }
}
constexpr std::string_view kRefusalReasons[] = {"invalid_request", "unknown_model", "overloaded",
                                                "shutting_down",   "unsupported",   "other"};

prometheus::Gauge& AddPages(prometheus::Registry& registry, const std::string& state) {
  return AddGauge(registry, "quire_kv_pages", "Pages of the KV pool, by state; their sum is the pool",
                  {{"state", state}});
}

prometheus::Gauge& AddLeasedPages(prometheus::Registry& registry, const std::string& kind) {
  return AddGauge(registry, "quire_kv_pages_leased", "Of the used pages, those that leases hold, by the stronger kind",
                  {{"kind", kind}});
}

prometheus::Counter& AddTierEvent(prometheus::Registry& registry, const std::string& tier, const std::string& event) {
  return AddCounter(registry, "quire_kv_tier_pages_total",
                    "KV pages read from a tier, written to it, given up there for others, and refused as damaged",
                    {{"tier", tier}, {"event", event}});
}

prometheus::Counter& AddStepPart(prometheus::Registry& registry, const std::string& part) {
  return AddCounter(registry, "quire_step_part_seconds_total", "Time that steps took, by part", {{"part", part}});
}

}  // namespace

TierMetrics::TierMetrics(prometheus::Registry& registry, const std::string& tier)
    : pages_(AddGauge(registry, "quire_kv_tier_pages", "KV pages that a tier outside the pool has", {{"tier", tier}})),
      bytes_(AddGauge(registry, "quire_kv_tier_bytes", "What they take", {{"tier", tier}})),
      read_(AddTierEvent(registry, tier, "read")),
      written_(AddTierEvent(registry, tier, "written")),
      evicted_(AddTierEvent(registry, tier, "evicted")),
      refused_(AddTierEvent(registry, tier, "refused")),
      failures_(AddCounter(registry, "quire_kv_tier_failures_total", "Reads and writes of a tier that failed",
                           {{"tier", tier}})) {}

void TierMetrics::Follow(const TierStats& stats) {
  pages_.Set(static_cast<double>(stats.pages));
  bytes_.Set(static_cast<double>(stats.pages * stats.page_bytes));
  read_.Follow(stats.pages_read);
  written_.Follow(stats.pages_written);
  evicted_.Follow(stats.pages_evicted);
  refused_.Follow(stats.pages_refused);
  failures_.Follow(stats.failures);
}

QuireMetrics::QuireMetrics(prometheus::Registry& registry, const MetricsOptions& options)
    : streams_open_(AddGauge(registry, "quire_streams_open", "Answers that clients have not read to the end yet", {})),
      pages_used_(AddPages(registry, "used")),
      pages_cached_(AddPages(registry, "cached")),
      pages_free_(AddPages(registry, "free")),
      pages_preferred_(AddLeasedPages(registry, "preferred")),
      pages_pinned_(AddLeasedPages(registry, "pinned")),
      leases_(AddGauge(registry, "quire_leases", "Leases on cached prefixes", {})),
      host_tier_(registry, "host"),
      disk_tier_(registry, "disk"),
      step_seconds_(AddHistogram(registry, "quire_step_seconds", "Time of a step of the engine", {}, kStepSeconds)),
      steps_ahead_(AddCounter(registry, "quire_steps_ahead_total",
                              "Steps that were launched while the one before them was under way", {})),
      steps_given_up_(AddCounter(registry, "quire_steps_given_up_total",
                                 "Steps that were given up for a tenant that had had less", {})),
      schedule_seconds_(AddStepPart(registry, "schedule")),
      model_seconds_(AddStepPart(registry, "model")),
      commit_seconds_(AddStepPart(registry, "commit")) {
  for (const Protocol protocol : kAllProtocols) {
    requests_[protocol] = &AddCounter(registry, "quire_requests_total", "Requests that came, by protocol",
                                      {{"protocol", std::string(ToString(protocol))}});
  }
  for (const std::string_view reason : kRefusalReasons) {
    refused_[reason] = &AddCounter(registry, "quire_requests_refused_total", "Requests that were not run, by reason",
                                   {{"reason", std::string(reason)}});
  }
  pages_free_.Set(static_cast<double>(options.cache.num_blocks));
  AddGauge(registry, "quire_build_info", "The program's version; always 1", {{"version", kVersion}}).Set(1);
  AddGauge(registry, "quire_model_info", "The model that is served; always 1",
           {{"model_name", options.model_name},
            {"architecture", options.architecture},
            {"max_model_len", std::to_string(options.max_model_len)}})
      .Set(1);
}

void QuireMetrics::RequestRefused(absl::StatusCode code) { refused_.at(RefusalReason(code))->Increment(); }

void QuireMetrics::StepDone(const StepReport& report) {
  const BlockCounts& pages = report.stats.blocks;
  pages_used_.Set(static_cast<double>(pages.used));
  pages_cached_.Set(static_cast<double>(pages.cached));
  pages_free_.Set(static_cast<double>(pages.free));
  pages_preferred_.Set(static_cast<double>(pages.leased - pages.pinned));
  pages_pinned_.Set(static_cast<double>(pages.pinned));
  leases_.Set(static_cast<double>(report.stats.leases));
  host_tier_.Follow(report.stats.host_tier);
  disk_tier_.Follow(report.stats.disk_tier);
  steps_given_up_.Follow(report.stats.steps_given_up_total);
  if (report.num_scheduled_tokens == 0) return;
  Observe(step_seconds_, report.timings.total());
  steps_ahead_.Follow(report.stats.steps_ahead_total);
  schedule_seconds_.Increment(absl::ToDoubleSeconds(report.timings.schedule));
  model_seconds_.Increment(absl::ToDoubleSeconds(report.timings.model));
  commit_seconds_.Increment(absl::ToDoubleSeconds(report.timings.commit));
}

}  // namespace quire
