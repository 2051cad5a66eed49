#include "server/grpc/kv_event_reactor.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/grpc/page_event_format.h"
#include "server/grpc/status_conversion.h"
#include "server/grpc/vllm/kv_event_messages.h"
#include "server/status_details.h"

namespace quire {

template <typename Format>
KvEventReactor<Format>* KvEventReactor<Format>::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                                      const absl::Status& allowed, Format format) {
  const std::shared_ptr<KvEventReactor> reactor(new KvEventReactor(context, pipeline, std::move(format)));
  reactor->self_ = reactor;
  std::unique_lock lock(reactor->mutex_);
  reactor->status_ = allowed.ok() ? reactor->Begin(reactor->format_.first_sequence()) : allowed;
  if (reactor->status_.ok()) {
    // Clients wait for it, and the first event may be long in coming.
    reactor->writing_ = true;
    reactor->StartSendInitialMetadata();
  }
  reactor->Act(std::move(lock));
  return reactor.get();
}

template <typename Format>
absl::Status KvEventReactor<Format>::Begin(uint64_t sequence) {
  RETURN_IF_ERROR(pipeline_.kv_events().AddReader(this->weak_from_this()));
  if (sequence == 0) {
    const bool asked =
        pipeline_.GetSharedPages([weak = this->weak_from_this()](std::vector<PageEvent> pages, uint64_t last_sequence) {
          if (const auto self = weak.lock()) self->TakeSnapshot(std::move(pages), last_sequence);
        });
    return asked ? absl::OkStatus() : TryAgainLater("the engine has too many messages to read");
  }
  next_sequence_ = pipeline_.kv_events().Find(sequence).ok() ? sequence : sequence + 1;
  return pipeline_.kv_events().Find(*next_sequence_).status();
}

template <typename Format>
void KvEventReactor<Format>::TakeSnapshot(std::vector<PageEvent> pages, uint64_t sequence) {
  std::erase_if(pages, [this](const PageEvent& page) { return !format_.Concerns(page); });
  std::unique_lock lock(mutex_);
  snapshot_ = KvSnapshot{std::move(pages), sequence, absl::Now()};
  next_sequence_ = sequence + 1;
  Act(std::move(lock));
}

template <typename Format>
void KvEventReactor<Format>::OnKvEvents() {
  std::unique_lock lock(mutex_);
  if (!finished_ && HasMissedSomething()) {
    status_ =
        absl::DataLossError("the subscriber fell behind what is kept; subscribe from 0 to begin with what there is");
    snapshot_.reset();
    // A write that the client does not take would hold the end up.
    if (writing_ && !done_) context_->TryCancel();
  }
  Act(std::move(lock));
}

template <typename Format>
void KvEventReactor<Format>::OnWriteDone(bool ok) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (!ok) status_.Update(absl::CancelledError("the client went away"));
  Act(std::move(lock));
}

template <typename Format>
void KvEventReactor<Format>::OnCancel() {
  std::unique_lock lock(mutex_);
  status_.Update(absl::CancelledError("the client went away"));
  Act(std::move(lock));
}

template <typename Format>
void KvEventReactor<Format>::OnDone() {
  std::shared_ptr<KvEventReactor> self;
  std::lock_guard lock(mutex_);
  done_ = true;
  self = std::move(self_);
}

template <typename Format>
bool KvEventReactor<Format>::HasMissedSomething() const {
  return next_sequence_ && !pipeline_.kv_events().Find(*next_sequence_).ok();
}

// False if there is nothing to send.
template <typename Format>
bool KvEventReactor<Format>::PrepareMessage() {
  if (!snapshot_) return PrepareBatch();
  current_ = format_.MakeMessage(*snapshot_, next_chunk_++);
  if (next_chunk_ == snapshot_->num_chunks()) snapshot_.reset();
  return true;
}

template <typename Format>
bool KvEventReactor<Format>::PrepareBatch() {
  if (!next_sequence_) return false;
  for (;;) {
    const absl::StatusOr<KvEventBatchPtr> batch = pipeline_.kv_events().Find(*next_sequence_);
    if (!batch.ok() || *batch == nullptr) return false;  // OnKvEvents sees to what was missed.
    ++*next_sequence_;
    const std::vector<PageEvent>& events = (*batch)->events;
    if (std::ranges::none_of(events, [this](const PageEvent& event) { return format_.Concerns(event); })) continue;
    current_ = format_.MakeMessage(**batch);
    return true;
  }
}

template <typename Format>
void KvEventReactor<Format>::Act(std::unique_lock<std::mutex> lock) {
  if (writing_ || finished_) return;
  if (!status_.ok()) {
    finished_ = true;
    const grpc::Status status = ToGrpcStatus(status_, *context_);
    lock.unlock();
    return this->Finish(status);
  }
  if (!PrepareMessage()) return;
  writing_ = true;
  lock.unlock();
  this->StartWrite(&current_);
}

template class KvEventReactor<PageEventFormat>;
template class KvEventReactor<VllmKvEvents>;

}  // namespace quire
