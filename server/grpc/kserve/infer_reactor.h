// InferReactor: one ModelInfer call.
#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "server/grpc/kserve/infer_answer.h"
#include "server/grpc/unary_reactor.h"

namespace quire::kserve {

class InferReactor final : public UnaryReactor {
 public:
  // All but `parsed` outlive the reactor; an error in it ends the call.
  static InferReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                             const inference::ModelInferRequest& request, absl::StatusOr<InferRequest> parsed,
                             inference::ModelInferResponse* response);

 private:
  InferReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, InferAnswer answer,
               inference::ModelInferResponse* response)
      : UnaryReactor(context, pipeline, Protocol::kKserve), answer_(std::move(answer)), response_(response) {}

  absl::Status Add(ResponseDelta delta) override;

  InferAnswer answer_;
  inference::ModelInferResponse* const response_;
};

}  // namespace quire::kserve
