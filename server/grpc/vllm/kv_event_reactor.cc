#include "server/grpc/vllm/kv_event_reactor.h"

#include <utility>

#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {

KvEventReactor* KvEventReactor::Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                      const Request& request) {
  const std::shared_ptr<KvEventReactor> reactor(new KvEventReactor(context, pipeline));
  reactor->self_ = reactor;
  std::unique_lock lock(reactor->mutex_);
  reactor->status_ = reactor->Begin(request.start_sequence_number());
  if (reactor->status_.ok()) {
    // Clients wait for it, and the first event may be long in coming.
    reactor->writing_ = true;
    reactor->StartSendInitialMetadata();
  }
  reactor->Act(std::move(lock));
  return reactor.get();
}

absl::Status KvEventReactor::Begin(uint64_t sequence) {
  RETURN_IF_ERROR(IdentifyCaller(pipeline_.tenants(), *context_, Access::kEverybody).status());
  RETURN_IF_ERROR(pipeline_.kv_events().AddReader(weak_from_this()));
  if (sequence == 0) {
    const bool asked =
        pipeline_.GetSharedPages([weak = weak_from_this()](std::vector<PageEvent> pages, uint64_t last_sequence) {
          if (const auto self = weak.lock()) self->TakeSnapshot(std::move(pages), last_sequence);
        });
    return asked ? absl::OkStatus() : TryAgainLater("the engine has too many messages to read");
  }
  next_sequence_ = pipeline_.kv_events().Find(sequence).ok() ? sequence : sequence + 1;
  return pipeline_.kv_events().Find(*next_sequence_).status();
}

void KvEventReactor::TakeSnapshot(std::vector<PageEvent> pages, uint64_t sequence) {
  std::unique_lock lock(mutex_);
  snapshot_ = KvSnapshot{std::move(pages), sequence, absl::Now()};
  next_sequence_ = sequence + 1;
  Act(std::move(lock));
}

void KvEventReactor::OnKvEvents() {
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

void KvEventReactor::OnWriteDone(bool ok) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (!ok) status_.Update(absl::CancelledError("the client went away"));
  Act(std::move(lock));
}

void KvEventReactor::OnCancel() {
  std::unique_lock lock(mutex_);
  status_.Update(absl::CancelledError("the client went away"));
  Act(std::move(lock));
}

void KvEventReactor::OnDone() {
  std::shared_ptr<KvEventReactor> self;
  std::lock_guard lock(mutex_);
  done_ = true;
  self = std::move(self_);
}

bool KvEventReactor::HasMissedSomething() const {
  return next_sequence_ && !pipeline_.kv_events().Find(*next_sequence_).ok();
}

// False if there is nothing to send.
bool KvEventReactor::PrepareMessage() {
  const int block_size = pipeline_.model().block_size;
  if (snapshot_) {
    current_ = ToMessage(*snapshot_, next_chunk_++, block_size);
    if (next_chunk_ == snapshot_->num_chunks()) snapshot_.reset();
    return true;
  }
  if (!next_sequence_) return false;
  const absl::StatusOr<KvEventBatchPtr> batch = pipeline_.kv_events().Find(*next_sequence_);
  if (!batch.ok() || *batch == nullptr) return false;  // OnKvEvents sees to what was missed.
  ++*next_sequence_;
  current_ = ToMessage(**batch, block_size);
  return true;
}

void KvEventReactor::Act(std::unique_lock<std::mutex> lock) {
  if (writing_ || finished_) return;
  if (!status_.ok()) {
    finished_ = true;
    const grpc::Status status = ToGrpcStatus(status_, *context_);
    lock.unlock();
    return Finish(status);
  }
  if (!PrepareMessage()) return;
  writing_ = true;
  lock.unlock();
  StartWrite(&current_);
}

}  // namespace quire
