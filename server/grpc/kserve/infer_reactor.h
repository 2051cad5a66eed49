// InferReactor: one ModelInfer call: a request in, its whole answer out.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "absl/status/statusor.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/kserve/infer_answer.h"
#include "server/serving_pipeline.h"

namespace quire::kserve {

// Deletes itself when gRPC is done with it. As in GenerateReactor, the pipeline's last delta is the one way to the end.
class InferReactor final : public grpc::ServerUnaryReactor, public ResponseSink {
 public:
  // All but `parsed` outlive the reactor; an error in it ends the call.
  static InferReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                             const inference::ModelInferRequest& request, absl::StatusOr<InferRequest> parsed,
                             inference::ModelInferResponse* response);

  void Deliver(ResponseDelta delta) override;

  void OnCancel() override;
  void OnDone() override;

 private:
  InferReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, inference::ModelInferResponse* response)
      : context_(context), pipeline_(pipeline), origin_(ReadOrigin(Protocol::kKserve, *context)), response_(response) {}
  ~InferReactor() override = default;

  void End(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  const RequestOrigin origin_;
  inference::ModelInferResponse* const response_;
  std::optional<InferAnswer> answer_;
  RequestContextPtr request_;  // Null when the call was refused. Constant from the call's start on.
};

}  // namespace quire::kserve
