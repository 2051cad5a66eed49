#include "server/tenants/tenant_metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <vector>

namespace quire {
namespace {

struct Series {
  const char* name;
  const char* help;
  uint64_t TenantUsage::*total;
};

constexpr Series kSeries[] = {
    {"quire_tenant_requests_total", "Requests that are over, by tenant", &TenantUsage::requests_total},
    {"quire_tenant_requests_refused_total", "Requests refused for a limit of the tenant's",
     &TenantUsage::refused_total},
    {"quire_tenant_prompt_tokens_total", "Prompt tokens, by tenant", &TenantUsage::prompt_tokens_total},
    {"quire_tenant_cached_tokens_total", "Prompt tokens found in the cache, by tenant",
     &TenantUsage::cached_tokens_total},
    {"quire_tenant_completion_tokens_total", "Tokens of answers, by tenant", &TenantUsage::completion_tokens_total},
};

}  // namespace

std::string RenderTenantMetrics(std::span<const TenantUsage> usage) {
  std::vector<prometheus::MetricFamily> families;
  for (const Series& series : kSeries) {
    prometheus::MetricFamily& family =
        families.emplace_back(prometheus::MetricFamily{series.name, series.help, prometheus::MetricType::Counter, {}});
    for (const TenantUsage& tenant : usage) {
      prometheus::ClientMetric& metric = family.metric.emplace_back();
      metric.label.push_back({"tenant", tenant.tenant});
      metric.counter.value = static_cast<double>(tenant.*series.total);
    }
  }
  prometheus::MetricFamily& alive = families.emplace_back(prometheus::MetricFamily{
      "quire_tenant_requests", "Requests running or waiting, by tenant", prometheus::MetricType::Gauge, {}});
  for (const TenantUsage& tenant : usage) {
    prometheus::ClientMetric& metric = alive.metric.emplace_back();
    metric.label.push_back({"tenant", tenant.tenant});
    metric.gauge.value = static_cast<double>(tenant.requests_alive);
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace quire
