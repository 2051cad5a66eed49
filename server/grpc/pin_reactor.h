// PinReactor: a Pin call that has what is missing computed first.
#pragma once

#include "quire/v1/cache.pb.h"
#include "server/grpc/unary_reactor.h"

namespace quire {

class PinReactor final : public UnaryReactor {
 public:
  // `request` asks for a lease; an error in it ends the call. The others outlive the reactor.
  static PinReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                           absl::StatusOr<PipelineRequest> request, v1::PinResponse* response);

 private:
  PinReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, v1::PinResponse* response)
      : UnaryReactor(context, pipeline, Protocol::kQuire), response_(response) {}

  absl::Status Add(ResponseDelta delta) override;

  v1::PinResponse* const response_;
};

}  // namespace quire
