#include "server/grpc/pin_reactor.h"

#include <utility>

#include "server/grpc/call_deadline.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/lease_conversion.h"
#include "server/grpc/status_conversion.h"

namespace quire {

PinReactor* PinReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline, PipelineRequest request,
                              v1::PinResponse* response) {
  auto* reactor = new PinReactor(context, pipeline, response);
  request.origin = ReceiveOrigin(Protocol::kQuire, *context);
  request.generate.deadline = DeadlineOf(*context);
  absl::StatusOr<RequestContextPtr> started = pipeline.Start(std::move(request), reactor);
  if (started.ok()) {
    reactor->request_ = *std::move(started);
  } else {
    reactor->Finish(ToGrpcStatus(started.status(), *context));
  }
  return reactor;
}

void PinReactor::Deliver(ResponseDelta delta) {
  const SequenceOutput& output = delta.output;
  if (!output.last) return;
  absl::Status status = output.status;
  if (status.ok()) status = output.lease ? output.lease->status() : absl::InternalError("no lease came back");
  if (status.ok()) Convert(**output.lease, *response_->mutable_lease());
  Finish(ToGrpcStatus(status, *context_));
}

void PinReactor::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

void PinReactor::OnDone() {
  if (request_ != nullptr) pipeline_.StreamOver();
  delete this;
}

}  // namespace quire
