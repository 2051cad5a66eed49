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
  absl::Status status = parsed.status();
  if (status.ok() && parsed->form.stream) {
    status = InvalidField("stream", "must be false: only ModelStreamInfer sends more than one response");
  }
  if (status.ok()) {
    parsed->pipeline.origin = reactor->origin_;
    parsed->pipeline.generate.deadline = DeadlineOf(*context);
    reactor->answer_.emplace(request, std::move(parsed->form), parsed->pipeline.generate.sampling.n);
    absl::StatusOr<RequestContextPtr> started = pipeline.Start(std::move(parsed->pipeline), reactor);
    status = started.status();
    if (started.ok()) reactor->request_ = *std::move(started);
  } else {
    pipeline.Refuse(reactor->origin_, status);
  }
  if (!status.ok()) reactor->End(status);
  return reactor;
}

void InferReactor::Deliver(ResponseDelta delta) {
  answer_->Add(std::move(delta));
  if (!answer_->over()) return;
  if (answer_->status().ok()) answer_->Take(*response_);
  End(answer_->status());
}

void InferReactor::End(const absl::Status& status) {
  SendRequestId(origin_, status, *context_);
  Finish(ToGrpcStatus(status, *context_));
}

void InferReactor::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

void InferReactor::OnDone() {
  if (request_ != nullptr) pipeline_.StreamOver();
  delete this;
}

}  // namespace quire::kserve
