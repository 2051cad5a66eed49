// What tenants had, for Prometheus.
#pragma once

#include <span>
#include <string>

#include "server/tenants/tenant_ledger.h"

namespace quire {

// In Prometheus's text format, version 0.0.4: a series a tenant, of which the ledger bounds the number.
std::string RenderTenantMetrics(std::span<const TenantUsage> usage);

}  // namespace quire
