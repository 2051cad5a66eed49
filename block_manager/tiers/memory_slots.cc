#include "block_manager/tiers/memory_slots.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "block_manager/planted_bug.h"
#include "block_manager/tiers/page_entry.h"
#include "kernels/check.h"

namespace quire {

absl::StatusOr<std::unique_ptr<MemorySlots>> MemorySlots::Create(int num_slots, int page_tokens, int64_t page_bytes) {
  QUIRE_CHECK(num_slots >= 1 && page_tokens >= 1 && page_bytes >= 1);
  const size_t slot_bytes = PageEntryBytes(page_tokens) + static_cast<size_t>(page_bytes);
  std::unique_ptr<std::byte[]> memory(new (std::nothrow) std::byte[slot_bytes * num_slots]);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", num_slots, " pages of ", page_bytes, " bytes"));
  }
  return std::unique_ptr<MemorySlots>(new MemorySlots(std::move(memory), num_slots, page_tokens, page_bytes));
}

MemorySlots::MemorySlots(std::unique_ptr<std::byte[]> memory, int num_slots, int page_tokens, int64_t page_bytes)
    : memory_(std::move(memory)),
      num_slots_(num_slots),
      page_tokens_(page_tokens),
      page_bytes_(page_bytes),
      written_(num_slots, false) {}

std::span<std::byte> MemorySlots::Raw(SlotId slot) {
  QUIRE_CHECK(0 <= slot && slot < num_slots_);
  const size_t slot_bytes = PageEntryBytes(page_tokens_) + static_cast<size_t>(page_bytes_);
  return {memory_.get() + slot_bytes * slot, slot_bytes};
}

std::vector<FoundPage> MemorySlots::FindPages() {
  std::vector<FoundPage> found;
  for (SlotId slot = 0; slot < num_slots_; ++slot) {
    if (!written_[slot]) continue;
    auto entry = DecodePageEntry(Raw(slot).first(PageEntryBytes(page_tokens_)), page_tokens_);
    if (entry) found.push_back({slot, std::move(entry->page), entry->sequence});
  }
  return found;
}

absl::Status MemorySlots::Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                                std::span<const std::byte> bytes) {
  const std::span<std::byte> raw = Raw(slot);
  const size_t entry_bytes = PageEntryBytes(page_tokens_);
  EncodePageEntry({page, sequence, ChecksumOf(bytes)}, raw.first(entry_bytes));
  std::ranges::copy(bytes, raw.begin() + entry_bytes);
  written_[slot] = true;
  return absl::OkStatus();
}

absl::Status MemorySlots::Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) {
  const std::span<std::byte> raw = Raw(slot);
  const std::span<std::byte> entry_bytes = raw.first(PageEntryBytes(page_tokens_));
  auto entry = written_[slot] ? DecodePageEntry(entry_bytes, page_tokens_) : std::nullopt;
  if constexpr (kPlantedBug == PlantedBug::kUncheckedPage) {
    std::ranges::copy(raw.subspan(entry_bytes.size()), bytes.begin());
    return absl::OkStatus();
  }
  if (!entry || entry->page != page) return absl::DataLossError("the slot holds another page");
  std::ranges::copy(raw.subspan(entry_bytes.size()), bytes.begin());
  if (ChecksumOf(bytes) != entry->payload) return absl::DataLossError("the page is not what its checksum says");
  entry->sequence = sequence;
  EncodePageEntry(*entry, entry_bytes);
  return absl::OkStatus();
}

absl::Status MemorySlots::Erase(SlotId slot) {
  written_[slot] = false;
  return absl::OkStatus();
}

absl::Status MemorySlots::Clear() {
  written_.assign(num_slots_, false);
  return absl::OkStatus();
}

}  // namespace quire
