#include "server/grpc/unary_reactor.h"

#include <utility>

#include "server/grpc/call_deadline.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"

namespace quire {

UnaryReactor::UnaryReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, Protocol protocol)
    : context_(context), pipeline_(pipeline), origin_(ReadOrigin(protocol, *context)) {}

void UnaryReactor::Run(absl::StatusOr<PipelineRequest> request) {
  absl::Status status = IdentifyCaller(pipeline_.tenants(), *context_, origin_);
  status.Update(request.status());
  if (status.ok()) {
    request->origin = origin_;
    request->generate.deadline = DeadlineOf(*context_);
    absl::StatusOr<RequestContextPtr> started = pipeline_.Start(*std::move(request), this);
    status = started.status();
    if (started.ok()) request_ = *std::move(started);
  } else {
    pipeline_.Refuse(origin_, status);
  }
  if (!status.ok()) End(status);
}

void UnaryReactor::Deliver(ResponseDelta delta) {
  const bool last = delta.output.last;
  absl::Status status = delta.output.status;
  status.Update(Add(std::move(delta)));
  if (last) End(status);
}

void UnaryReactor::End(const absl::Status& status) {
  SendRequestId(origin_, status, *context_);
  Finish(ToGrpcStatus(status, *context_));
}

void UnaryReactor::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

void UnaryReactor::OnDone() {
  if (request_ != nullptr) pipeline_.StreamOver();
  delete this;
}

}  // namespace quire
