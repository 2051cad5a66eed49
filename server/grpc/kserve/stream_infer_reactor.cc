#include "server/grpc/kserve/stream_infer_reactor.h"

#include "absl/time/clock.h"
#include "server/grpc/call_deadline.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"

namespace quire::kserve {

StreamInferReactor::StreamInferReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                       const RequestParser& parser)
    : context_(context), pipeline_(pipeline), parser_(parser), origin_(ReadOrigin(Protocol::kKserve, *context)) {
  const absl::Status identified = IdentifyCaller(pipeline.tenants(), *context, origin_);
  // A request's refusal is a response like others: the call itself is taken on.
  SendRequestId(origin_, identified, *context);
  if (identified.ok()) {
    StartRead(&incoming_);
  } else {
    finished_ = read_ended_ = true;
    Finish(ToGrpcStatus(identified, *context));
  }
}

void StreamInferReactor::OnReadDone(bool ok) {
  absl::StatusOr<InferRequest> parsed = absl::CancelledError("nothing was read");
  if (ok) parsed = ParseInferRequest(parser_, incoming_);
  Next next;
  {
    std::lock_guard lock(mutex_);
    reading_ = false;
    if (ok) {
      AcceptLocked(std::move(parsed));
    } else {
      read_ended_ = true;
    }
    next = NextLocked();
  }
  Perform(next);
}

// The pipeline does not block, and nobody waits for this stream's lock while holding another.
void StreamInferReactor::AcceptLocked(absl::StatusOr<InferRequest> parsed) {
  const int num_samples = parsed.ok() ? parsed->pipeline.generate.sampling.n : 0;
  AnswerForm form = parsed.ok() ? std::move(parsed->form) : AnswerForm();
  auto owned = std::make_unique<Request>(*this, InferAnswer(incoming_, std::move(form), num_samples));
  Request& request = *owned;
  requests_.emplace(&request, std::move(owned));
  absl::Status status = parsed.status();
  if (status.ok()) {
    parsed->pipeline.origin = origin_;
    parsed->pipeline.generate.deadline = DeadlineOf(*context_);
    absl::StatusOr<RequestContextPtr> started = pipeline_.Start(std::move(parsed->pipeline), &request);
    status = started.status();
    if (started.ok()) request.context = *std::move(started);
  } else {
    pipeline_.Refuse(origin_, status);
  }
  if (!status.ok()) {
    request.answer.Fail(std::move(status));
    AddedLocked(request);
  } else if (broken_) {
    pipeline_.Cancel(*request.context);
  }
}

void StreamInferReactor::Deliver(Request& request, ResponseDelta delta) {
  Next next;
  {
    std::lock_guard lock(mutex_);
    request.answer.Add(std::move(delta));
    AddedLocked(request);
    next = NextLocked();
  }
  Perform(next);
}

void StreamInferReactor::OnWriteDone(bool ok) {
  Next next;
  std::unique_ptr<grpc::Alarm> alarm;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
    if (writing_last_of_ != nullptr) ForgetLocked(*std::exchange(writing_last_of_, nullptr));
    alarm = std::move(unread_alarm_);
    next = NextLocked();
  }
  Perform(next);
}

void StreamInferReactor::OnCancel() {
  Next next;
  {
    std::lock_guard lock(mutex_);
    broken_ = true;
    for (const auto& [request, owned] : requests_) {
      if (request->context != nullptr) pipeline_.Cancel(*request->context);
    }
    next = NextLocked();
  }
  Perform(next);
}

void StreamInferReactor::AddedLocked(Request& request) {
  if (request.answer.over()) ++num_over_;
  if (!request.answer.ready() || request.queued) return;
  request.queued = true;
  ready_.push_back(&request);
}

StreamInferReactor::Next StreamInferReactor::NextLocked() {
  Next next;
  next.action = ChooseActionLocked();
  next.read = !reading_ && !read_ended_ && requests_.size() < kMaxRequests;
  if (next.read) reading_ = true;
  SetUnreadAlarmLocked();
  return next;
}

StreamInferReactor::Action StreamInferReactor::ChooseActionLocked() {
  if (writing_ || finished_) return Action::kNone;
  while (!ready_.empty()) {
    Request& request = *ready_.front();
    ready_.pop_front();
    request.queued = false;
    const bool over = request.answer.over();
    if (broken_) {
      if (over) ForgetLocked(request);
      continue;
    }
    outgoing_.Clear();
    request.answer.Take(outgoing_);
    if (over) writing_last_of_ = &request;
    writing_ = true;
    ++num_writes_;
    return Action::kWrite;
  }
  if (!read_ended_ || !requests_.empty()) return Action::kNone;
  finished_ = true;
  return Action::kFinish;
}

void StreamInferReactor::ForgetLocked(Request& request) {
  --num_over_;
  if (request.context != nullptr) pipeline_.StreamOver();
  requests_.erase(&request);
}

void StreamInferReactor::SetUnreadAlarmLocked() {
  if (!writing_ || num_over_ == 0 || unread_alarm_ != nullptr) return;
  references_ += 1;
  unread_alarm_ = std::make_unique<grpc::Alarm>();
  const auto on_alarm = [this, write = num_writes_](bool fired) {
    {
      std::lock_guard lock(mutex_);
      if (fired && writing_ && num_writes_ == write && !done_) context_->TryCancel();
    }
    Unref();
  };
  unread_alarm_->Set(absl::ToChronoTime(absl::Now() + kUnreadTimeout), on_alarm);
}

void StreamInferReactor::Perform(Next next) {
  if (next.read) StartRead(&incoming_);
  switch (next.action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      StartWrite(&outgoing_);
      return;
    case Action::kFinish:
      Finish(grpc::Status::OK);
      return;
  }
}

void StreamInferReactor::OnDone() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  Unref();
}

void StreamInferReactor::Unref() {
  if (--references_ == 0) delete this;
}

}  // namespace quire::kserve
