#include "server/grpc/call_metadata.h"

#include <iterator>
#include <string>
#include <string_view>

#include "engine/types/status_macros.h"
#include "quire/v1/load_report.pb.h"

namespace quire {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr char kTraceparentKey[] = "traceparent";
constexpr char kAuthorizationKey[] = "authorization";
constexpr char kLoadReportKey[] = "endpoint-load-metrics-bin";

// Empty if there is none, or more than one: then it is not clear which was meant.
std::string_view Find(const grpc::ServerContextBase& context, const std::string& key) {
  const auto [first, last] = context.client_metadata().equal_range(key);
  if (first == last || std::next(first) != last) return {};
  return {first->second.data(), first->second.size()};
}

}  // namespace

RequestOrigin ReadOrigin(Protocol protocol, const grpc::ServerContextBase& context) {
  return MakeOrigin(protocol, Find(context, kRequestIdKey), Find(context, kTraceparentKey));
}

void SendRequestId(const RequestOrigin& origin, const absl::Status& status, grpc::ServerContextBase& context) {
  if (status.ok()) {
    context.AddInitialMetadata(kRequestIdKey, origin.request_id);
  } else {
    context.AddTrailingMetadata(kRequestIdKey, origin.request_id);
  }
}

absl::StatusOr<TenantPtr> IdentifyCaller(const TenantDirectory& tenants, const grpc::ServerContextBase& context,
                                         Access access) {
  Credentials credentials;
  credentials.authorization = Find(context, kAuthorizationKey);
  if (!tenants.trusted_header().empty()) credentials.tenant = Find(context, tenants.trusted_header());
  return tenants.Identify(credentials, access);
}

absl::Status IdentifyCaller(const TenantDirectory& tenants, const grpc::ServerContextBase& context,
                            RequestOrigin& origin) {
  ASSIGN_OR_RETURN(origin.tenant, IdentifyCaller(tenants, context));
  return absl::OkStatus();
}

void AddLoadReport(const ServerLoad& load, grpc::ServerContextBase& context) {
  v1::LoadReport report;
  report.set_cpu_utilization(load.utilization.cpu);
  report.set_mem_utilization(load.utilization.memory);
  // Names as vLLM reports them.
  auto& metrics = *report.mutable_named_metrics();
  metrics["kv_cache_usage_perc"] = load.kv_cache_usage;
  metrics["num_requests_running"] = load.requests_running;
  metrics["num_requests_waiting"] = load.requests_waiting;
  context.AddTrailingMetadata(kLoadReportKey, report.SerializeAsString());
}

}  // namespace quire
