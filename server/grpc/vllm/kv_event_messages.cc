#include "server/grpc/vllm/kv_event_messages.h"

namespace quire {
namespace {

namespace pb = ::smg::grpc::common;

double Seconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

// Adds events to a message. Pages that follow each other go into one.
class EventWriter {
 public:
  EventWriter(pb::KvEventBatch& batch, int block_size) : batch_(batch), block_size_(block_size) {}

  void Add(const PageEvent& event, uint64_t event_id) {
    switch (event.kind) {
      case PageEvent::Kind::kStored:
        AddStored(event, event_id);
        return;
      case PageEvent::Kind::kRemoved:
        AddRemoved(event, event_id);
        return;
      case PageEvent::Kind::kCleared:
        NewEvent(event_id).mutable_cleared();
        return;
    }
  }

 private:
  pb::KvCacheEvent& NewEvent(uint64_t event_id) {
    last_ = batch_.add_events();
    last_->set_event_id(event_id);
    return *last_;
  }

  void AddStored(const PageEvent& event, uint64_t event_id) {
    const bool goes_on = last_ != nullptr && last_->has_stored() && event.parent_hash == last_hash_;
    pb::KvBlocksStored& stored = *(goes_on ? *last_ : NewEvent(event_id)).mutable_stored();
    if (!goes_on && event.parent_hash) stored.set_parent_block_hash(static_cast<int64_t>(*event.parent_hash));
    pb::KvBlock& block = *stored.add_blocks();
    block.set_block_hash(static_cast<int64_t>(event.hash));
    block.mutable_token_ids()->Add(event.tokens.begin(), event.tokens.end());
    block.set_block_size(block_size_);
    last_hash_ = event.hash;
  }

  void AddRemoved(const PageEvent& event, uint64_t event_id) {
    const bool goes_on = last_ != nullptr && last_->has_removed();
    (goes_on ? *last_ : NewEvent(event_id)).mutable_removed()->add_block_hashes(static_cast<int64_t>(event.hash));
  }

  pb::KvEventBatch& batch_;
  const int block_size_;
  pb::KvCacheEvent* last_ = nullptr;
  uint64_t last_hash_ = 0;
};

}  // namespace

pb::KvEventBatch ToMessage(const KvEventBatch& batch, int block_size) {
  pb::KvEventBatch message;
  message.set_sequence_number(batch.sequence);
  message.set_timestamp(Seconds(batch.time));
  EventWriter writer(message, block_size);
  uint64_t event_id = batch.first_event_id;
  for (const PageEvent& event : batch.events) writer.Add(event, event_id++);
  return message;
}

pb::KvEventBatch ToMessage(const KvSnapshot& snapshot, size_t index, int block_size) {
  const size_t num_chunks = snapshot.num_chunks();
  pb::KvEventBatch message;
  message.set_sequence_number(snapshot.sequence_of(index));
  message.set_timestamp(Seconds(snapshot.time));
  pb::KvSnapshotChunk& chunk = *message.mutable_snapshot();
  chunk.set_index(static_cast<uint32_t>(index));
  chunk.set_count(static_cast<uint32_t>(num_chunks));
  chunk.set_blocks(snapshot.pages.size());
  if (index == 0) message.add_events()->mutable_cleared();
  EventWriter writer(message, block_size);
  for (size_t i = snapshot.first_page(index); i < snapshot.end_page(index); ++i) {
    writer.Add(snapshot.pages[i], /*event_id=*/0);
  }
  return message;
}

}  // namespace quire
