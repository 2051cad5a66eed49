// quire.v1.CacheService over the pipeline.
#pragma once

#include <functional>
#include <vector>

#include "quire/v1/cache.grpc.pb.h"
#include "server/grpc/cache_prompt.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire {

// Handlers run on gRPC's threads and never block: they parse, and post to the text worker and to the engine's thread.
class CacheService final : public v1::CacheService::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit CacheService(ServingPipeline& pipeline) : pipeline_(pipeline), parser_(pipeline.model()) {}

  grpc::ServerUnaryReactor* Probe(grpc::CallbackServerContext* context, const v1::ProbeRequest* request,
                                  v1::ProbeResponse* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListCacheRequest* request,
                                 v1::ListCacheResponse* response) override;
  grpc::ServerUnaryReactor* Pin(grpc::CallbackServerContext* context, const v1::PinRequest* request,
                                v1::PinResponse* response) override;
  grpc::ServerUnaryReactor* Unpin(grpc::CallbackServerContext* context, const v1::UnpinRequest* request,
                                  v1::UnpinResponse* response) override;
  grpc::ServerUnaryReactor* Evict(grpc::CallbackServerContext* context, const v1::EvictRequest* request,
                                  v1::EvictResponse* response) override;
  grpc::ServerWriteReactor<v1::PageEvents>* Subscribe(grpc::CallbackServerContext* context,
                                                      const v1::SubscribeRequest* request) override;

 private:
  // Whose leases and pages a call is about.
  absl::StatusOr<uint64_t> OwnerOf(const grpc::CallbackServerContext& context, Access access = Access::kOwn) const;
  using TokensJob = std::function<absl::Status(Engine&, const std::vector<TokenId>&)>;
  // Finishes the call with what `job` says of the prompt's tokens, run on the engine's thread.
  grpc::ServerUnaryReactor* WithTokens(grpc::CallbackServerContext* context, absl::StatusOr<ParsedPrompt> prompt,
                                       TokensJob job);

  ServingPipeline& pipeline_;
  const RequestParser parser_;
};

}  // namespace quire
