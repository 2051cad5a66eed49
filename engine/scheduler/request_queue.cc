#include "engine/scheduler/request_queue.h"

#include "kernels/check.h"

namespace quire {

void RequestQueue::Insert(Sequence& sequence) {
  const bool inserted = queue_.insert(&sequence).second;
  QUIRE_CHECK(inserted);
  num_tokens_ += static_cast<int64_t>(sequence.tokens.size());
}

void RequestQueue::Remove(Sequence& sequence) {
  const size_t erased = queue_.erase(&sequence);
  QUIRE_CHECK(erased == 1);
  num_tokens_ -= static_cast<int64_t>(sequence.tokens.size());
}

void RequestQueue::CheckInvariants() const {
  int64_t num_tokens = 0;
  for (const Sequence* sequence : queue_) {
    QUIRE_CHECK(sequence->status == SequenceStatus::kWaiting);
    QUIRE_CHECK(sequence->num_computed == 0 && sequence->num_scheduled == 0);
    QUIRE_CHECK(sequence->table.blocks.empty());
    num_tokens += static_cast<int64_t>(sequence->tokens.size());
  }
  QUIRE_CHECK(num_tokens == num_tokens_);
}

}  // namespace quire
