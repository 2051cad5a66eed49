// EmbedReactor: one Embed call of vllm.grpc.engine.
#pragma once

#include "absl/status/statusor.h"
#include "server/grpc/unary_reactor.h"
#include "smg/vllm_engine.pb.h"

namespace quire {

class EmbedReactor final : public UnaryReactor {
 public:
  // All but `parsed` outlive the reactor; an error in it ends the call.
  static EmbedReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                             absl::StatusOr<PipelineRequest> parsed, ::vllm::grpc::engine::EmbedResponse* response);

 private:
  EmbedReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
               ::vllm::grpc::engine::EmbedResponse* response)
      : UnaryReactor(context, pipeline, Protocol::kVllm), response_(response) {}

  absl::Status Add(ResponseDelta delta) override;

  ::vllm::grpc::engine::EmbedResponse* const response_;
};

}  // namespace quire
