#include "server/kv_events.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/status_details.h"

namespace quire {
namespace {

size_t BytesOf(const KvEventBatch& batch) {
  size_t bytes = sizeof(batch);
  for (const PageEvent& event : batch.events) bytes += sizeof(event) + event.tokens.size() * sizeof(TokenId);
  return bytes;
}

}  // namespace

// No server appends a million batches a second, so each of its seconds has numbers enough.
KvEvents::KvEvents(absl::Time start, size_t max_bytes)
    : max_bytes_(max_bytes), next_sequence_(static_cast<uint64_t>(absl::ToUnixSeconds(start)) * kSpareNumbers + 1) {}

void KvEvents::Append(std::vector<PageEvent> events, absl::Time now) {
  if (events.empty()) return;
  std::vector<std::shared_ptr<KvEventReader>> readers;
  {
    std::lock_guard lock(mutex_);
    const uint64_t first_event_id = next_event_id_;
    next_event_id_ += events.size();
    batches_.push_back(
        std::make_shared<KvEventBatch>(KvEventBatch{next_sequence_++, first_event_id, now, std::move(events)}));
    bytes_ += BytesOf(*batches_.back());
    while (bytes_ > max_bytes_ && batches_.size() > 1) {
      bytes_ -= BytesOf(*batches_.front());
      batches_.pop_front();
    }
    readers = LiveReadersLocked();
  }
  for (const auto& reader : readers) reader->OnKvEvents();
}

absl::Status KvEvents::AddReader(std::weak_ptr<KvEventReader> reader) {
  std::lock_guard lock(mutex_);
  if (LiveReadersLocked().size() >= kMaxReaders) {
    return TryAgainLater(absl::StrCat("there are ", kMaxReaders, " subscribers already, as many as are accepted"));
  }
  readers_.push_back(std::move(reader));
  return absl::OkStatus();
}

absl::StatusOr<KvEventBatchPtr> KvEvents::Find(uint64_t sequence) const {
  std::lock_guard lock(mutex_);
  if (sequence == next_sequence_) return nullptr;
  const uint64_t oldest = next_sequence_ - batches_.size();
  if (sequence < oldest || sequence > next_sequence_) {
    return absl::OutOfRangeError(absl::StrCat("batch ", sequence, " is not among those kept, ", oldest, " to ",
                                              next_sequence_ - 1, "; subscribe from 0 to begin with what there is"));
  }
  return batches_[sequence - oldest];
}

uint64_t KvEvents::last_sequence() const {
  std::lock_guard lock(mutex_);
  return next_sequence_ - 1;
}

std::vector<std::shared_ptr<KvEventReader>> KvEvents::LiveReadersLocked() {
  std::erase_if(readers_, [](const auto& reader) { return reader.expired(); });
  std::vector<std::shared_ptr<KvEventReader>> live;
  for (const auto& reader : readers_) {
    if (auto alive = reader.lock()) live.push_back(std::move(alive));
  }
  return live;
}

}  // namespace quire
