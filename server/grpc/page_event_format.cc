#include "server/grpc/page_event_format.h"

#include "server/grpc/time_conversion.h"

namespace quire {
namespace {

void Add(const PageEvent& event, v1::PageEvents& message) {
  v1::PageEvents::Event& added = *message.add_events();
  switch (event.kind) {
    case PageEvent::Kind::kStored: {
      v1::PageEvents::Stored& stored = *added.mutable_stored();
      stored.set_hash(event.hash);
      if (event.parent_hash) stored.set_parent_hash(*event.parent_hash);
      stored.mutable_token_ids()->Add(event.tokens.begin(), event.tokens.end());
      return;
    }
    case PageEvent::Kind::kRemoved:
      added.mutable_removed()->set_hash(event.hash);
      return;
    case PageEvent::Kind::kCleared:
      added.mutable_cleared();
      return;
  }
}

}  // namespace

v1::PageEvents PageEventFormat::MakeMessage(const KvEventBatch& batch) const {
  v1::PageEvents message;
  message.set_sequence(batch.sequence);
  Convert(batch.time, *message.mutable_time());
  for (const PageEvent& event : batch.events) {
    if (Concerns(event)) Add(event, message);
  }
  return message;
}

v1::PageEvents PageEventFormat::MakeMessage(const KvSnapshot& snapshot, size_t index) const {
  v1::PageEvents message;
  message.set_sequence(snapshot.sequence_of(index));
  Convert(snapshot.time, *message.mutable_time());
  message.mutable_snapshot()->set_index(static_cast<int32_t>(index));
  message.mutable_snapshot()->set_count(static_cast<int32_t>(snapshot.num_chunks()));
  for (size_t i = snapshot.first_page(index); i < snapshot.end_page(index); ++i) Add(snapshot.pages[i], message);
  return message;
}

}  // namespace quire
