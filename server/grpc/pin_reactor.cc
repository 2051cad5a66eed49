#include "server/grpc/pin_reactor.h"

#include <utility>

#include "server/grpc/lease_conversion.h"

namespace quire {

PinReactor* PinReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                              absl::StatusOr<PipelineRequest> request, v1::PinResponse* response) {
  auto* reactor = new PinReactor(context, pipeline, response);
  reactor->Run(std::move(request));
  return reactor;
}

absl::Status PinReactor::Add(ResponseDelta delta) {
  const SequenceOutput& output = delta.output;
  if (!output.last || !output.status.ok()) return absl::OkStatus();
  if (!output.lease) return absl::InternalError("no lease came back");
  if (output.lease->ok()) Convert(**output.lease, *response_->mutable_lease());
  return output.lease->status();
}

}  // namespace quire
