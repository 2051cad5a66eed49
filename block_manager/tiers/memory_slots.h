// MemorySlots: pages in the host's memory.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "block_manager/tiers/page_slots.h"

namespace quire {

class MemorySlots : public PageSlots {
 public:
  // Memory is taken as pages come. RESOURCE_EXHAUSTED when there cannot be so much. REQUIRES: all at least 1.
  static absl::StatusOr<std::unique_ptr<MemorySlots>> Create(int num_slots, int page_tokens, int64_t page_bytes);

  int num_slots() const override { return num_slots_; }
  int64_t page_bytes() const override { return page_bytes_; }
  std::vector<FoundPage> FindPages() override;
  absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                     std::span<const std::byte> bytes) override;
  absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) override;
  absl::Status Erase(SlotId slot) override;
  absl::Status Clear() override;

  // What lies in a slot: its entry, then its page.
  std::span<std::byte> Raw(SlotId slot);

 private:
  MemorySlots(std::unique_ptr<std::byte[]> memory, int num_slots, int page_tokens, int64_t page_bytes);

  const std::unique_ptr<std::byte[]> memory_;
  const int num_slots_;
  const int page_tokens_;
  const int64_t page_bytes_;
  std::vector<bool> written_;  // Others are memory that nobody has touched.
};

}  // namespace quire
