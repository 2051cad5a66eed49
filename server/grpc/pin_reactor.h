// PinReactor: a Pin call that has what is missing computed first.
#pragma once

#include <grpcpp/grpcpp.h>

#include "quire/v1/cache.pb.h"
#include "server/serving_pipeline.h"

namespace quire {

// Deletes itself when gRPC is done with it. Its one path to the end is the pipeline's last delta; a client that goes away
// makes it come sooner.
class PinReactor final : public grpc::ServerUnaryReactor, public ResponseSink {
 public:
  // `request` asks for a lease. The others outlive the reactor.
  static PinReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline, PipelineRequest request,
                           v1::PinResponse* response);

  void Deliver(ResponseDelta delta) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  PinReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, v1::PinResponse* response)
      : context_(context), pipeline_(pipeline), response_(response) {}

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  v1::PinResponse* const response_;
  RequestContextPtr request_;  // Constant once the handler has returned, before which gRPC calls nothing here.
};

}  // namespace quire
