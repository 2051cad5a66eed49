// quire.v1.InferenceService over the pipeline.
#pragma once

#include <functional>

#include "quire/v1/inference.grpc.pb.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire {

// Handlers run on gRPC's threads and never block: they parse, and post.
class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit InferenceService(ServingPipeline& pipeline) : pipeline_(pipeline), parser_(pipeline.model()) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext* context,
                                                           const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::GenerateResponse>* Chat(grpc::CallbackServerContext* context,
                                                       const v1::ChatRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  // Finishes the call with `checked` if that is an error, else with what `job` says, run on the text worker.
  grpc::ServerUnaryReactor* RunOnTextWorker(grpc::CallbackServerContext* context, const absl::Status& checked,
                                            std::function<absl::Status()> job);

  ServingPipeline& pipeline_;
  const RequestParser parser_;
};

}  // namespace quire
