#include "server/grpc/generate_reactor.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/grpc/status_conversion.h"

namespace quire {

GenerateReactor* GenerateReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                        absl::StatusOr<PipelineRequest> request) {
  auto* reactor = new GenerateReactor(context, pipeline);
  absl::Status status = request.status();
  if (status.ok()) {
    if (context->deadline() != std::chrono::system_clock::time_point::max()) {
      request->generate.deadline = absl::FromChrono(context->deadline());
    }
    absl::StatusOr<RequestContextPtr> started = pipeline.Start(*std::move(request), reactor);
    status = started.status();
    if (started.ok()) reactor->request_ = *std::move(started);
  }
  if (!status.ok()) reactor->Finish(ToGrpcStatus(status, *context));
  return reactor;
}

void GenerateReactor::Deliver(ResponseDelta delta) {
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

void GenerateReactor::OnWriteDone(bool ok) {
  Action action;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
    action = ChooseLocked();
  }
  Perform(action);
}

GenerateReactor::Action GenerateReactor::ChooseLocked() {
  if (writing_) return Action::kNone;
  if (over_ && (!status_.ok() || broken_ || pending_.empty())) return Action::kFinish;
  if (broken_ || pending_.empty()) return Action::kNone;
  current_ = pending_.Pop();
  writing_ = true;
  return over_ && pending_.empty() ? Action::kWriteAndFinish : Action::kWrite;
}

void GenerateReactor::Perform(Action action) {
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      StartWrite(&current_);
      return;
    case Action::kWriteAndFinish:
      StartWriteAndFinish(&current_, grpc::WriteOptions(), grpc::Status::OK);
      return;
    case Action::kFinish:
      Finish(ToGrpcStatus(status_, *context_));
      return;
  }
}

void GenerateReactor::OnCancel() {
  if (request_ != nullptr) pipeline_.Cancel(*request_);
}

void GenerateReactor::SetUnreadAlarmLocked() {
  references_ += 1;
  unread_alarm_.Set(absl::ToChronoTime(absl::Now() + kUnreadTimeout), [this](bool fired) {
    {
      std::lock_guard lock(mutex_);
      if (fired && !done_) context_->TryCancel();
    }
    Unref();
  });
}

void GenerateReactor::OnDone() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  if (request_ != nullptr) pipeline_.StreamOver();
  unread_alarm_.Cancel();
  Unref();
}

void GenerateReactor::Unref() {
  if (--references_ == 0) delete this;
}

}  // namespace quire
