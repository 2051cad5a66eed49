#include "server/grpc/vllm/vllm_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/engine_call.h"
#include "server/grpc/generate_reactor.h"
#include "server/grpc/kv_event_reactor.h"
#include "server/grpc/status_conversion.h"
#include "server/grpc/vllm/embed_reactor.h"
#include "server/grpc/vllm/kv_event_messages.h"
#include "server/grpc/vllm/tokenizer_reactor.h"
#include "server/grpc/vllm/vllm_pending_responses.h"
#include "server/status_details.h"

namespace quire {
namespace {

namespace pb = ::vllm::grpc::engine;
namespace common = ::smg::grpc::common;

// Of a prompt that came as tokens; 0 if it did not.
TokenId FirstToken(const Prompt& prompt) {
  const auto* tokens = std::get_if<std::vector<TokenId>>(&prompt);
  return tokens == nullptr ? 0 : tokens->front();
}

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void Convert(const EngineStats& stats, const ServedModel& model, pb::SchedulerLoad& load) {
  load.set_num_running_reqs(static_cast<int32_t>(stats.requests_running));
  load.set_num_waiting_reqs(static_cast<int32_t>(stats.requests_waiting));
  load.set_num_total_reqs(static_cast<int32_t>(stats.requests_running + stats.requests_waiting));
  load.set_num_used_tokens(static_cast<int32_t>((stats.blocks.used - stats.blocks.yielding) * model.block_size));
  load.set_max_total_num_tokens(static_cast<int32_t>(stats.blocks.total * model.block_size));
  load.set_token_usage(Share(stats.blocks.used - stats.blocks.yielding, stats.blocks.total));
  load.set_cache_hit_rate(Share(stats.cached_tokens_total, stats.prompt_tokens_total));
  load.set_max_running_requests(model.max_num_seqs);
}

}  // namespace

VllmService::VllmService(ServingPipeline& pipeline)
    : pipeline_(pipeline),
      parser_(pipeline.model()),
      start_(absl::Now()),
      tokenizer_bundle_(pipeline.model().path, pipeline.model().fingerprint) {}

grpc::ServerWriteReactor<pb::GenerateResponse>* VllmService::Generate(grpc::CallbackServerContext* context,
                                                                      const pb::GenerateRequest* request) {
  absl::StatusOr<PipelineRequest> parsed = parser_.Parse(*request);
  VllmPendingResponses pending(*request, parsed.ok() ? FirstToken(parsed->prompt) : 0);
  auto* reactor =
      GenerateReactor<VllmPendingResponses>::Start(context, pipeline_, std::move(parsed), std::move(pending));
  Remember(request->request_id(), reactor->request());
  return reactor;
}

grpc::ServerUnaryReactor* VllmService::Embed(grpc::CallbackServerContext* context, const pb::EmbedRequest* request,
                                             pb::EmbedResponse* response) {
  EmbedReactor* reactor = EmbedReactor::Start(context, pipeline_, parser_.Parse(*request), response);
  Remember(request->request_id(), reactor->request());
  return reactor;
}

void VllmService::Remember(const std::string& name, const RequestContextPtr& request) {
  if (request != nullptr && !name.empty()) names_.Add(name, request);
}

grpc::ServerUnaryReactor* VllmService::Abort(grpc::CallbackServerContext* context, const pb::AbortRequest* request,
                                             pb::AbortResponse* /*response*/) {
  const absl::StatusOr<TenantPtr> caller = IdentifyCaller(pipeline_.tenants(), *context);
  if (!caller.ok()) return Finished(context, caller.status());
  for (const std::string& name : request->request_ids()) {
    for (const RequestContextPtr& running : names_.Find(name)) {
      // Another's requests may have the same names, and are none of the caller's business.
      if (running->origin.tenant->name == (*caller)->name) pipeline_.Cancel(*running);
    }
  }
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* VllmService::HealthCheck(grpc::CallbackServerContext* context,
                                                   const pb::HealthCheckRequest* /*request*/,
                                                   pb::HealthCheckResponse* response) {
  response->set_healthy(pipeline_.admitting());
  response->set_message(response->healthy() ? "serving" : "shutting down: no new requests");
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* VllmService::GetModelInfo(grpc::CallbackServerContext* context,
                                                    const pb::GetModelInfoRequest* /*request*/,
                                                    pb::GetModelInfoResponse* response) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context).status();
  if (!allowed.ok()) return Finished(context, allowed);
  const ServedModel& model = pipeline_.model();
  response->set_model_path(model.path);
  response->set_is_generation(true);
  response->set_max_context_length(model.max_model_len);
  response->set_vocab_size(model.tokenizer->vocab_size());
  response->set_served_model_name(model.name);
  response->set_model_type(model.architecture);
  response->add_architectures(model.architecture);
  response->mutable_eos_token_ids()->Add(model.tokenizer->end_tokens().begin(), model.tokenizer->end_tokens().end());
  if (model.tokenizer->bos() >= 0) response->set_bos_token_id(model.tokenizer->bos());
  response->set_max_req_input_len(model.max_model_len - 1);
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* VllmService::GetServerInfo(grpc::CallbackServerContext* context,
                                                     const pb::GetServerInfoRequest* /*request*/,
                                                     pb::GetServerInfoResponse* response) {
  response->set_server_type("quire");
  response->set_uptime_seconds(absl::ToDoubleSeconds(absl::Now() - start_));
  response->set_data_parallel_size(1);
  response->set_block_size(pipeline_.model().block_size);
  return RunOnEngine(context, Access::kOwn, [response](Engine& engine) {
    const EngineStats stats = engine.stats();
    response->set_active_requests(static_cast<uint32_t>(stats.requests_running + stats.requests_waiting));
  });
}

grpc::ServerUnaryReactor* VllmService::GetLoads(grpc::CallbackServerContext* context,
                                                const pb::GetLoadsRequest* /*request*/,
                                                pb::GetLoadsResponse* response) {
  response->set_timestamp(absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone()));
  response->set_dp_rank_count(1);
  return RunOnEngine(context, Access::kOwn, [this, response](Engine& engine) {
    Convert(engine.stats(), pipeline_.model(), *response->add_loads());
  });
}

grpc::ServerWriteReactor<common::GetTokenizerChunk>* VllmService::GetTokenizer(
    grpc::CallbackServerContext* context, const common::GetTokenizerRequest* /*request*/) {
  return TokenizerReactor::Start(context, pipeline_, tokenizer_bundle_);
}

grpc::ServerWriteReactor<common::KvEventBatch>* VllmService::SubscribeKvEvents(
    grpc::CallbackServerContext* context, const common::SubscribeKvEventsRequest* request) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context, Access::kEverybody).status();
  return KvEventReactor<VllmKvEvents>::Start(context, pipeline_, allowed,
                                             VllmKvEvents(*request, pipeline_.model().block_size));
}

grpc::ServerUnaryReactor* VllmService::FlushCache(grpc::CallbackServerContext* context,
                                                  const common::FlushCacheRequest* /*request*/,
                                                  common::FlushCacheResponse* response) {
  return RunOnEngine(context, Access::kEverybody, [response](Engine& engine) {
    engine.ClearPrefixCache();
    response->set_success(true);
    response->set_message("the prefix cache is empty");
  });
}

grpc::ServerUnaryReactor* VllmService::RunOnEngine(grpc::CallbackServerContext* context, Access access,
                                                   EngineThread::Job job) {
  const absl::Status allowed = IdentifyCaller(pipeline_.tenants(), *context, access).status();
  if (!allowed.ok()) return Finished(context, allowed);
  return CallEngine(context, pipeline_, [job = std::move(job)](Engine& engine) mutable {
    job(engine);
    return absl::OkStatus();
  });
}

}  // namespace quire
