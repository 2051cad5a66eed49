// UnaryReactor: one call with a request in and its whole answer out, whatever protocol it speaks.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "server/serving_pipeline.h"

namespace quire {

// Deletes itself when gRPC is done with it. As in GenerateReactor, the pipeline's last delta is the one way to the end.
class UnaryReactor : public grpc::ServerUnaryReactor, public ResponseSink {
 public:
  // Null when the call was refused. For the handler, until it returns.
  const RequestContextPtr& request() const { return request_; }

  void Deliver(ResponseDelta delta) final;

  void OnCancel() final;
  void OnDone() final;

 protected:
  // Both outlive the reactor.
  UnaryReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, Protocol protocol);
  ~UnaryReactor() override = default;

  // Starts the request in the pipeline, or ends the call with its error. Called once, when all else is ready.
  void Run(absl::StatusOr<PipelineRequest> request);

  // Takes the next delta. With the last one that is OK, the response is to be filled, or the call ends with an error.
  virtual absl::Status Add(ResponseDelta delta) = 0;

 private:
  void End(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  RequestOrigin origin_;
  RequestContextPtr request_;  // Constant from the call's start on.
};

}  // namespace quire
