// KvEvents: how the pages that can be shared change, for any number of readers over any protocol. A bounded log of
// numbered batches: each reader goes through it at its own speed, nothing is queued for anybody, and one that falls
// behind the log's oldest batch learns that it has missed something.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "block_manager/page_event.h"

namespace quire {

struct KvEventBatch {
  uint64_t sequence = 0;        // Counts batches.
  uint64_t first_event_id = 0;  // Counts events.
  absl::Time time;
  std::vector<PageEvent> events;  // Not empty.
};
using KvEventBatchPtr = std::shared_ptr<const KvEventBatch>;

// A list of the pages that can be shared, in parts with numbers of their own.
struct KvSnapshot {
  static constexpr size_t kPagesPerChunk = 512;

  std::vector<PageEvent> pages;  // Parents before children.
  uint64_t sequence = 0;         // Of the last batch before it; the last part has this number.
  absl::Time time;

  // At least one: also that there is nothing must be said.
  size_t num_chunks() const { return pages.empty() ? 1 : (pages.size() + kPagesPerChunk - 1) / kPagesPerChunk; }
  // Where a part's pages begin and end. REQUIRES: index < num_chunks().
  size_t first_page(size_t index) const { return index * kPagesPerChunk; }
  size_t end_page(size_t index) const { return std::min(first_page(index) + kPagesPerChunk, pages.size()); }
  uint64_t sequence_of(size_t index) const { return sequence - num_chunks() + 1 + index; }
};

class KvEventReader {
 public:
  virtual ~KvEventReader() = default;
  // There is a new batch. Called on the thread that appends, with no lock held; must not block.
  virtual void OnKvEvents() = 0;
};

// Thread-safe.
class KvEvents {
 public:
  static constexpr size_t kMaxReaders = 64;
  static constexpr size_t kMaxBytes = 8 << 20;
  // So many numbers are free below the first batch's: a reader's first messages, which tell it what there was before,
  // may need numbers of their own.
  static constexpr uint64_t kSpareNumbers = 1 << 20;

  // Numbers begin with `start`, so that a number from an earlier life of the server is never taken for one of this.
  explicit KvEvents(absl::Time start, size_t max_bytes = kMaxBytes);

  // Drops the oldest batches as need be, adds one, and tells the readers. Nothing if there are no events.
  void Append(std::vector<PageEvent> events, absl::Time now);

  // RESOURCE_EXHAUSTED when there are too many. A reader that is destroyed leaves by itself.
  absl::Status AddReader(std::weak_ptr<KvEventReader> reader);

  // The batch with this number; null if it is the next one to come. OUT_OF_RANGE if it is not kept any more or belongs
  // to another life of the server.
  absl::StatusOr<KvEventBatchPtr> Find(uint64_t sequence) const;
  // Of the newest batch, or what comes before the first.
  uint64_t last_sequence() const;

 private:
  std::vector<std::shared_ptr<KvEventReader>> LiveReadersLocked();

  const size_t max_bytes_;
  mutable std::mutex mutex_;
  std::deque<KvEventBatchPtr> batches_;
  size_t bytes_ = 0;
  uint64_t next_sequence_;
  uint64_t next_event_id_ = 1;
  std::vector<std::weak_ptr<KvEventReader>> readers_;
};

}  // namespace quire
