// DiskSlots: pages in a file that outlives the process.
//
//   header       512 bytes (page_format.h), up to the end of a block of the file system
//   group 0      kSlotsPerGroup entries (page_entry.h), up to the end of a block; then as many pages, each in whole
//                blocks
//   group 1 ...  the file may end anywhere: what is missing holds no pages
//
// Pages are written before their entries and nothing is forced to the disk: of what a crash or a loss of power leaves,
// checksums tell what is whole.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "block_manager/tiers/page_format.h"
#include "block_manager/tiers/page_slots.h"

namespace quire {

struct DiskSlotsOptions {
  std::string path;
  int64_t max_bytes = 0;  // Of the whole file. A longer one is cut, a shorter one grows.
  PageFormat format;
  bool recreate = false;  // A file with pages of another format, or without any, is made anew instead of refused.
};

class DiskSlots : public PageSlots {
 public:
  // Opens the file, or makes it, readable for its owner only. INVALID_ARGUMENT: max_bytes is too small, or the path is
  // not of a regular file; FAILED_PRECONDITION: the file is of another format, as the message tells; UNAVAILABLE: another
  // process uses it; anything that the file system says. Messages are to go on after the path.
  static absl::StatusOr<std::unique_ptr<DiskSlots>> Open(const DiskSlotsOptions& options);
  ~DiskSlots() override;

  int num_slots() const override { return num_slots_; }
  int64_t page_bytes() const override { return page_bytes_; }
  std::vector<FoundPage> FindPages() override;
  absl::Status Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                     std::span<const std::byte> bytes) override;
  absl::Status Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) override;
  absl::Status Erase(SlotId slot) override;
  absl::Status Clear() override;

  // Where things lie in the file, for tests that damage it.
  int64_t EntryOffset(SlotId slot) const;
  int64_t PageOffset(SlotId slot) const;

 private:
  DiskSlots(int file, const PageFormat& format, int num_slots);

  int64_t GroupOffset(SlotId slot) const;

  const int file_;
  const int page_tokens_;
  const int64_t page_bytes_;
  const int num_slots_;
};

}  // namespace quire
