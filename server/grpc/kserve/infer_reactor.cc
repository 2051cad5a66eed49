#include "server/grpc/kserve/infer_reactor.h"

#include <utility>

#include "server/grpc/call_deadline.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire::kserve {

InferReactor* InferReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                  const inference::ModelInferRequest& request, absl::StatusOr<InferRequest> parsed,
                                  inference::ModelInferResponse* response) {
  auto* reactor = new InferReactor(context, pipeline, response);
  RequestOrigin origin = ReceiveOrigin(Protocol::kKserve, *context);
  absl::Status status = IdentifyCaller(pipeline.tenants(), *context, origin);
  status.Update(parsed.status());
  if (status.ok() && parsed->form.stream) {
    status = InvalidField("stream", "must be false: only ModelStreamInfer sends more than one response");
  }
  if (status.ok()) {
    parsed->pipeline.origin = std::move(origin);
    parsed->pipeline.generate.deadline = DeadlineOf(*context);
    reactor->answer_.emplace(request, std::move(parsed->form), parsed->pipeline.generate.sampling.n);
    absl::StatusOr<RequestContextPtr> started = pipeline.Start(std::move(parsed->pipeline), reactor);
    status = started.status();
    if (started.ok()) reactor->request_ = *std::move(started);
  } else {
    pipeline.Refuse(origin, status);
  }
  if (!status.ok()) reactor->Finish(ToGrpcStatus(status, *context));
  return reactor;
}

void InferReactor::Deliver(ResponseDelta delta) {
  answer_->Add(std::move(delta));
  if (!answer_->over()) return;
  if (answer_->status().ok()) answer_->Take(*response_);
  Finish(ToGrpcStatus(answer_->status(), *context_));
}

void InferReactor::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

void InferReactor::OnDone() {
  if (request_ != nullptr) pipeline_.StreamOver();
  delete this;
}

}  // namespace quire::kserve
