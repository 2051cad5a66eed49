#include "server/grpc/admin_service.h"

#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {
namespace {

void Convert(const EngineStats& stats, v1::Stats& proto) {
  proto.set_requests_running(stats.requests_running);
  proto.set_requests_waiting(stats.requests_waiting);
  proto.set_kv_pages_total(stats.blocks.total);
  proto.set_kv_pages_used(stats.blocks.used);
  proto.set_kv_pages_shared(stats.blocks.shared);
  proto.set_kv_pages_cached(stats.blocks.cached);
  proto.set_kv_pages_free(stats.blocks.free);
  proto.set_prompt_tokens_total(stats.prompt_tokens_total);
  proto.set_cached_tokens_total(stats.cached_tokens_total);
  proto.set_completion_tokens_total(stats.completion_tokens_total);
  proto.set_preemptions_total(stats.preemptions_total);
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetStats(grpc::CallbackServerContext* context,
                                                 const v1::GetStatsRequest* /*request*/, v1::Stats* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context, Access::kEverybody).status();
  if (!allowed.ok()) return Finished(context, allowed);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool posted = pipeline_.TryRunOnEngine([reactor, response](Engine& engine) {
    Convert(engine.stats(), *response);
    reactor->Finish(grpc::Status::OK);
  });
  if (!posted) {
    reactor->Finish(ToGrpcStatus(TryAgainLater("the engine has too many messages to read"), *context));
  }
  return reactor;
}

}  // namespace quire
