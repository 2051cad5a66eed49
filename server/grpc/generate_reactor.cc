#include "server/grpc/generate_reactor.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/grpc/call_deadline.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/pending_responses.h"
#include "server/grpc/status_conversion.h"
#include "server/grpc/vllm/vllm_pending_responses.h"

namespace quire {

template <typename Pending>
GenerateReactor<Pending>* GenerateReactor<Pending>::Start(grpc::CallbackServerContext* context,
                                                          ServingPipeline& pipeline,
                                                          absl::StatusOr<PipelineRequest> request, Pending pending) {
  auto* reactor = new GenerateReactor(context, pipeline, std::move(pending));
  if (const absl::Status status = reactor->StartRequest(std::move(request)); !status.ok()) reactor->End(status);
  return reactor;
}

template <typename Pending>
absl::Status GenerateReactor<Pending>::StartRequest(absl::StatusOr<PipelineRequest> request) {
  RequestOrigin origin = ReadOrigin(Pending::kProtocol, *context_);
  absl::Status status = IdentifyCaller(pipeline_.tenants(), *context_, origin);
  status.Update(request.status());
  if (status.ok()) {
    request->origin = origin;
    request->generate.deadline = DeadlineOf(*context_);
    // Nothing is written before the metadata is there.
    const std::lock_guard lock(mutex_);
    absl::StatusOr<RequestContextPtr> started = pipeline_.Start(*std::move(request), this);
    status = started.status();
    if (started.ok()) {
      request_ = *std::move(started);
      SendRequestId(origin, status, *context_);
    }
  } else {
    pipeline_.Refuse(origin, status);
  }
  if (!status.ok()) SendRequestId(origin, status, *context_);
  return status;
}

template <typename Pending>
void GenerateReactor<Pending>::End(const absl::Status& status) {
  AddLoadReport(pipeline_.metrics().Load(), *context_);
  this->Finish(ToGrpcStatus(status, *context_));
}

template <typename Pending>
void GenerateReactor<Pending>::Deliver(ResponseDelta delta) {
  Action action;
  {
    std::lock_guard lock(mutex_);
    if (delta.output.last) {
      over_ = true;
      status_ = delta.output.status;
      SetUnreadAlarmLocked();
    }
    if (!broken_) pending_.Add(std::move(delta));
    action = ChooseLocked();
  }
  Perform(action);
}

template <typename Pending>
void GenerateReactor<Pending>::OnWriteDone(bool ok) {
  Action action;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
    action = ChooseLocked();
  }
  Perform(action);
}

template <typename Pending>
typename GenerateReactor<Pending>::Action GenerateReactor<Pending>::ChooseLocked() {
  if (writing_) return Action::kNone;
  if (over_ && (!status_.ok() || broken_ || pending_.empty())) return Action::kFinish;
  if (broken_ || pending_.empty()) return Action::kNone;
  current_ = pending_.Pop();
  writing_ = true;
  return over_ && pending_.empty() ? Action::kWriteAndFinish : Action::kWrite;
}

template <typename Pending>
void GenerateReactor<Pending>::Perform(Action action) {
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      this->StartWrite(&current_);
      return;
    case Action::kWriteAndFinish:
      AddLoadReport(pipeline_.metrics().Load(), *context_);
      this->StartWriteAndFinish(&current_, grpc::WriteOptions(), grpc::Status::OK);
      return;
    case Action::kFinish:
      End(status_);
      return;
  }
}

template <typename Pending>
void GenerateReactor<Pending>::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

template <typename Pending>
void GenerateReactor<Pending>::SetUnreadAlarmLocked() {
  references_ += 1;
  unread_alarm_.Set(absl::ToChronoTime(absl::Now() + kUnreadTimeout), [this](bool fired) {
    {
      std::lock_guard lock(mutex_);
      if (fired && !done_) context_->TryCancel();
    }
    Unref();
  });
}

template <typename Pending>
void GenerateReactor<Pending>::OnDone() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  if (request_ != nullptr) pipeline_.StreamOver();
  unread_alarm_.Cancel();
  Unref();
}

template <typename Pending>
void GenerateReactor<Pending>::Unref() {
  if (--references_ == 0) delete this;
}

template class GenerateReactor<PendingResponses>;
template class GenerateReactor<VllmPendingResponses>;

}  // namespace quire
