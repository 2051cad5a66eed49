// inference.GRPCInferenceService, the Open Inference Protocol of KServe and Triton, over the pipeline: one model, of
// text in and text out. What is not overridden answers UNIMPLEMENTED.
#pragma once

#include "kserve/grpc_service.grpc.pb.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire::kserve {

// Handlers run on gRPC's threads and never block.
class KserveService final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit KserveService(ServingPipeline& pipeline) : pipeline_(pipeline), parser_(pipeline.model()) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  // Not ready once the server is shutting down.
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* context,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryIndex(grpc::CallbackServerContext* context,
                                            const inference::RepositoryIndexRequest* request,
                                            inference::RepositoryIndexResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>* ModelStreamInfer(
      grpc::CallbackServerContext* context) override;

 private:
  ServingPipeline& pipeline_;
  const RequestParser parser_;
};

}  // namespace quire::kserve
