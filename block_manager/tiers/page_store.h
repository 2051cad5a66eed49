// PageStore: one tier of KV pages outside the pool. What it has is known at once; reading and writing go on elsewhere
// (see TaskQueue), and what became of them is asked for between steps.
//
// A page is known from the moment its write has completed, and no longer once it was given up for another, found to be
// damaged, or cleared away. Whether what was read is the page that was asked for has been checked: its entry, its tokens,
// its parent, its checksum. Errors of the medium make the tier quiet, never the server: after the first failed write
// nothing is written any more, after kMaxFailedReads nothing is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "block_manager/tiers/page_choice.h"
#include "block_manager/tiers/page_slots.h"
#include "block_manager/tiers/task_queue.h"
#include "block_manager/tiers/tier_index.h"

namespace quire {

struct TierStats {
  int64_t capacity = 0;  // Pages that it has room for, 0 where there is no such tier,
  int64_t pages = 0;     // and that it has.
  int64_t page_bytes = 0;
  uint64_t pages_read = 0;
  uint64_t pages_written = 0;
  uint64_t pages_evicted = 0;  // For others.
  uint64_t pages_refused = 0;  // Damaged, or not what they should be.
  uint64_t failures = 0;       // Reads and writes that the medium failed.
};

// Threads: the engine's, but for what is said otherwise.
class PageStore {
 public:
  using Ticket = uint64_t;
  struct Completion {
    Ticket ticket = 0;
    absl::Status status;
  };

  static constexpr int kMaxFailedReads = 8;

  // `name` is for warnings, `warn` is told once what is wrong with the medium. Pages that `slots` has are known from the
  // beginning. `queue` outlives the store and does the work of nobody else.
  PageStore(std::string name, std::unique_ptr<PageSlots> slots, TaskQueue& queue,
            std::function<void(const std::string&)> warn);
  // Waits for what has been started.
  ~PageStore();
  PageStore(const PageStore&) = delete;
  PageStore& operator=(const PageStore&) = delete;

  bool Contains(const PageKey& key) const { return index_.Contains(key); }
  // False from the first failed write on.
  bool takes_pages() const { return writes_; }

  // Starts to write or read a page, which ends in a completion. False: not now, every slot is busy or the tier is
  // quiet (Write), or not at all (Read). `bytes` stay where they are, and untouched, until then.
  bool Write(const PageRecord& page, std::span<const std::byte> bytes, Ticket ticket);
  bool Read(const PageRecord& page, std::span<std::byte> bytes, Ticket ticket);

  // What has been completed since the last call.
  std::vector<Completion> TakeCompletions();
  bool HasCompletions() const;
  // Called, on the queue's thread, when there are completions after there were none. Not any more once this has been
  // called with null.
  void OnCompletions(std::function<void()> wake);

  // Starts to forget what is chosen, also of pages being written. No read that starts afterwards gives one of them.
  void Evict(PageChoice choice);
  // Forgets all pages, also those being written.
  void Clear();
  // Returns when no bytes that were given will be touched any more.
  void Drain() { queue_.Drain(); }

  TierStats stats() const;
  void CheckInvariants() const { index_.CheckInvariants(); }

 private:
  enum class Kind { kRead, kWrite, kEvict, kClear };
  struct Done {
    Kind kind = Kind::kRead;
    Ticket ticket = 0;
    SlotId slot = kNoBlock;
    PageKey key;
    uint64_t epoch = 0;
    absl::Status status;
    std::vector<std::pair<SlotId, PageKey>> erased = {};  // By kEvict.
  };

  Done EraseChosen(const PageChoice& choice);
  void Report(Done done);
  void Settle(const Done& done);
  void NoteFailure(const Done& done);

  const std::string name_;
  const std::unique_ptr<PageSlots> slots_;
  TaskQueue& queue_;
  const std::function<void(const std::string&)> warn_;

  TierIndex index_;
  uint64_t next_sequence_ = 1;
  uint64_t epoch_ = 0;  // Counts calls of Clear.
  bool writes_ = true;
  bool reads_ = true;
  bool warned_ = false;
  int num_failed_reads_ = 0;
  TierStats totals_;  // Only what is counted.

  mutable std::mutex mutex_;  // For what follows, which tasks write to.
  std::vector<Done> done_;
  std::function<void()> wake_;
};

}  // namespace quire
