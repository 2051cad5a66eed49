// vllm.grpc.engine.VllmEngine over the pipeline: what the Shepherd Model Gateway and llm-d's router speak to engines.
#pragma once

#include "absl/time/time.h"
#include "server/grpc/vllm/request_names.h"
#include "server/grpc/vllm/vllm_parser.h"
#include "server/serving_pipeline.h"
#include "server/tokenizer_bundle.h"
#include "smg/vllm_engine.grpc.pb.h"

namespace quire {

// Handlers run on gRPC's threads and never block. What is not overridden is answered UNIMPLEMENTED at once, as gateways
// expect of it that try one protocol after the other: StartProfile and StopProfile.
class VllmService final : public ::vllm::grpc::engine::VllmEngine::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit VllmService(ServingPipeline& pipeline);

  grpc::ServerWriteReactor<::vllm::grpc::engine::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const ::vllm::grpc::engine::GenerateRequest* request) override;
  // Of length 1, as vLLM gives them.
  grpc::ServerUnaryReactor* Embed(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::EmbedRequest* request,
                                  ::vllm::grpc::engine::EmbedResponse* response) override;
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::AbortRequest* request,
                                  ::vllm::grpc::engine::AbortResponse* response) override;
  // Not healthy once the server drains, so that nothing is sent here any more.
  grpc::ServerUnaryReactor* HealthCheck(grpc::CallbackServerContext* context,
                                        const ::vllm::grpc::engine::HealthCheckRequest* request,
                                        ::vllm::grpc::engine::HealthCheckResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* context,
                                         const ::vllm::grpc::engine::GetModelInfoRequest* request,
                                         ::vllm::grpc::engine::GetModelInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const ::vllm::grpc::engine::GetServerInfoRequest* request,
                                          ::vllm::grpc::engine::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetLoads(grpc::CallbackServerContext* context,
                                     const ::vllm::grpc::engine::GetLoadsRequest* request,
                                     ::vllm::grpc::engine::GetLoadsResponse* response) override;
  grpc::ServerWriteReactor<::smg::grpc::common::GetTokenizerChunk>* GetTokenizer(
      grpc::CallbackServerContext* context, const ::smg::grpc::common::GetTokenizerRequest* request) override;
  grpc::ServerWriteReactor<::smg::grpc::common::KvEventBatch>* SubscribeKvEvents(
      grpc::CallbackServerContext* context, const ::smg::grpc::common::SubscribeKvEventsRequest* request) override;
  // At once, also while requests run: they keep the pages that they have.
  grpc::ServerUnaryReactor* FlushCache(grpc::CallbackServerContext* context,
                                       const ::smg::grpc::common::FlushCacheRequest* request,
                                       ::smg::grpc::common::FlushCacheResponse* response) override;

 private:
  // So that Abort finds the request under the client's name for it.
  void Remember(const std::string& name, const RequestContextPtr& request);
  // Finishes the call with OK after `job`, or as one that the caller may not make or the engine has no time for.
  grpc::ServerUnaryReactor* RunOnEngine(grpc::CallbackServerContext* context, Access access, EngineThread::Job job);

  ServingPipeline& pipeline_;
  const VllmParser parser_;
  const absl::Time start_;
  TokenizerBundle tokenizer_bundle_;
  RequestNames names_;
};

}  // namespace quire
