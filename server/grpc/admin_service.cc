#include "server/grpc/admin_service.h"

#include "server/grpc/call_metadata.h"
#include "server/grpc/engine_call.h"
#include "server/grpc/status_conversion.h"

namespace quire {
namespace {

void Convert(const TierStats& stats, v1::KvTierStats& proto) {
  proto.set_capacity(stats.capacity);
  proto.set_pages(stats.pages);
  proto.set_page_bytes(stats.page_bytes);
  proto.set_pages_read_total(stats.pages_read);
  proto.set_pages_written_total(stats.pages_written);
  proto.set_pages_evicted_total(stats.pages_evicted);
  proto.set_pages_refused_total(stats.pages_refused);
  proto.set_failures_total(stats.failures);
}

void Convert(const EngineStats& stats, v1::Stats& proto) {
  proto.set_requests_running(stats.requests_running);
  proto.set_requests_waiting(stats.requests_waiting);
  proto.set_kv_pages_total(stats.blocks.total);
  proto.set_kv_pages_used(stats.blocks.used);
  proto.set_kv_pages_shared(stats.blocks.shared);
  proto.set_kv_pages_cached(stats.blocks.cached);
  proto.set_kv_pages_free(stats.blocks.free);
  proto.set_kv_pages_leased(stats.blocks.leased);
  proto.set_kv_pages_pinned(stats.blocks.pinned);
  proto.set_leases(stats.leases);
  proto.set_prompt_tokens_total(stats.prompt_tokens_total);
  proto.set_cached_tokens_total(stats.cached_tokens_total);
  proto.set_completion_tokens_total(stats.completion_tokens_total);
  proto.set_preemptions_total(stats.preemptions_total);
  if (stats.host_tier.capacity > 0) Convert(stats.host_tier, *proto.mutable_kv_host());
  if (stats.disk_tier.capacity > 0) Convert(stats.disk_tier, *proto.mutable_kv_disk());
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetStats(grpc::CallbackServerContext* context,
                                                 const v1::GetStatsRequest* /*request*/, v1::Stats* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context, Access::kEverybody).status();
  if (!allowed.ok()) return Finished(context, allowed);
  return CallEngine(context, pipeline_, [response](const Engine& engine) {
    Convert(engine.stats(), *response);
    return absl::OkStatus();
  });
}

}  // namespace quire
