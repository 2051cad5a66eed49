#include "server/engine_thread.h"

#include <chrono>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxWaitingJobs = 1024;
// How late a deadline may be noticed while all requests wait for a tier, which wakes the thread otherwise.
constexpr std::chrono::milliseconds kTierPatience(20);

}  // namespace

EngineThread::EngineThread(Engine& engine, StreamThread& streams, Callbacks callbacks)
    : mailbox_(kMaxWaitingJobs),
      streams_(streams),
      callbacks_(std::move(callbacks)),
      engine_(engine),
      thread_([this] { Run(); }) {
  engine.OnTierNews([this] { mailbox_.Push(TierNewsMessage{}); });
}

EngineThread::~EngineThread() {
  mailbox_.Close();
  thread_.join();
  engine_.OnTierNews(nullptr);
}

void EngineThread::Submit(GenerateRequest request, RequestContextPtr context) {
  mailbox_.Push(SubmitMessage{std::move(request), std::move(context)});
}

void EngineThread::Cancel(RequestId id) { mailbox_.Push(CancelMessage{id}); }

void EngineThread::FinishSample(RequestId id, int index) { mailbox_.Push(FinishSampleMessage{id, index}); }

void EngineThread::CancelAll(absl::Status reason) { mailbox_.Push(CancelAllMessage{std::move(reason)}); }

bool EngineThread::TryRun(Job job) { return mailbox_.TryPush(std::move(job)); }

void EngineThread::Run() {
  std::vector<Message> messages;
  bool has_work = false;
  while (engine_.AwaitsTier() ? mailbox_.TakeAllWithin(messages, kTierPatience)
                              : mailbox_.TakeAll(messages, /*wait=*/!has_work)) {
    for (Message& message : messages) {
      std::visit([this](auto& m) { Handle(m); }, message);
    }
    const bool had_work = has_work;
    Step();
    if (auto events = engine_.TakePageEvents(); !events.empty()) callbacks_.page_events(std::move(events));
    has_work = engine_.HasWork();
    if (had_work && !has_work) engine_.CheckInvariants();
  }
}

void EngineThread::Handle(SubmitMessage& message) {
  const RequestId id = message.request.id;
  absl::Status status = shutdown_reason_;
  if (message.context->cancelled) status.Update(absl::CancelledError("the client went away"));
  if (status.ok()) status = WithFieldFromMessage(engine_.Submit(std::move(message.request), absl::Now()));
  if (absl::IsResourceExhausted(status)) {
    status = WithRetryDelay(WithReason(std::move(status), "QUEUE_FULL"), callbacks_.retry_delay());
  }
  if (status.ok()) {
    alive_.insert(id);
  } else {
    refused_.push_back(LastOutput(id, std::move(status)));
  }
}

void EngineThread::Handle(CancelMessage& message) { engine_.Cancel(message.id); }

void EngineThread::Handle(FinishSampleMessage& message) { engine_.FinishSample(message.id, message.index); }

void EngineThread::Handle(CancelAllMessage& message) { EndAll(std::move(message.reason)); }

void EngineThread::EndAll(absl::Status reason) {
  shutdown_reason_ = std::move(reason);
  for (const RequestId id : alive_) engine_.Cancel(id);
}

void EngineThread::Handle(Job& job) { job(engine_); }

bool EngineThread::Arrives(size_t& num_seen) {
  bool gives_way = false;
  num_seen = mailbox_.Peek(num_seen, [&](const Message& message) {
    const auto* submit = std::get_if<SubmitMessage>(&message);
    gives_way = gives_way || (submit != nullptr && engine_.GivesWayTo(submit->request.tenant));
  });
  return gives_way;
}

void EngineThread::Step() {
  std::vector<SequenceOutput> outputs = std::exchange(refused_, {});
  std::optional<StepReport> report;
  if (engine_.HasWork()) {
    StepOutput step = engine_.Step(absl::Now(), [this, num_seen = size_t{0}]() mutable { return Arrives(num_seen); });
    for (SequenceOutput& output : step.outputs) {
      if (!output.last) continue;
      alive_.erase(output.request);
      if (absl::IsCancelled(output.status)) output.status = shutdown_reason_.ok() ? output.status : shutdown_reason_;
    }
    std::move(step.outputs.begin(), step.outputs.end(), std::back_inserter(outputs));
    if (absl::IsUnavailable(step.model_status) && shutdown_reason_.ok()) {
      EndAll(WithReason(step.model_status, "DEVICE_LOST"));
      callbacks_.device_lost();
    }
    report = StepReport{step.num_scheduled_tokens, step.timings, engine_.stats()};
  }
  if (report.has_value() || !outputs.empty()) streams_.Push(std::move(outputs), std::move(report));
}

}  // namespace quire
