// PageSlots: where a tier's pages lie, each in a slot of its own with its entry before it. It checks what it reads, and
// knows nothing of who wants what: that is PageStore's. Memory and a file are behind it, and in tests whatever can go
// wrong with either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "block_manager/ids.h"
#include "block_manager/tiers/page_record.h"

namespace quire {

using SlotId = BlockId;  // 0 to num_slots() - 1.

// A slot that holds a page as far as its entry tells. The contents are checked when they are read.
struct FoundPage {
  SlotId slot = kNoBlock;
  PageRecord page;
  uint64_t sequence = 0;
};

// Threads: one at a time.
class PageSlots {
 public:
  virtual ~PageSlots() = default;

  virtual int num_slots() const = 0;
  virtual int64_t page_bytes() const = 0;
  // What there is, at first what earlier processes left. Fast: entries only.
  virtual std::vector<FoundPage> FindPages() = 0;

  // Puts a page into a slot, whatever was there. An error leaves nothing there that Read would take for a page.
  virtual absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                             std::span<const std::byte> bytes) = 0;
  // Reads a page out of a slot and notes that it was used. DATA_LOSS: what lies there is not that page, or not whole;
  // any other error: the slot cannot be read. `bytes` mean nothing then.
  virtual absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) = 0;
  // The slot holds no page from now on, nor will after a restart.
  virtual absl::Status Erase(SlotId slot) = 0;
  // The same of all slots.
  virtual absl::Status Clear() = 0;
};

}  // namespace quire
