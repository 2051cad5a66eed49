// PageEventFormat: what KvEventReactor streams to readers of quire.v1: the caller's pages and nobody else's.
#pragma once

#include <cstdint>

#include "quire/v1/cache.pb.h"
#include "server/kv_events.h"

namespace quire {

class PageEventFormat {
 public:
  using Message = v1::PageEvents;

  PageEventFormat(uint64_t first_sequence, uint64_t owner) : first_sequence_(first_sequence), owner_(owner) {}

  uint64_t first_sequence() const { return first_sequence_; }
  bool Concerns(const PageEvent& event) const {
    return event.salt == owner_ || event.kind == PageEvent::Kind::kCleared;
  }
  v1::PageEvents MakeMessage(const KvEventBatch& batch) const;
  v1::PageEvents MakeMessage(const KvSnapshot& snapshot, size_t index) const;

 private:
  uint64_t first_sequence_;
  uint64_t owner_;
};

}  // namespace quire
