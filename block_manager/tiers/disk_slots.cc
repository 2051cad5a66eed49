#include "block_manager/tiers/disk_slots.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "block_manager/tiers/page_entry.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr int64_t kFileBlock = 4096;
constexpr int kSlotsPerGroup = 16;
constexpr int64_t kFirstGroup = kFileBlock;
static_assert(kPageFileHeaderBytes <= kFirstGroup);

int64_t InBlocks(int64_t bytes) { return (bytes + kFileBlock - 1) / kFileBlock * kFileBlock; }

int64_t EntryBytes(int page_tokens) { return static_cast<int64_t>(PageEntryBytes(page_tokens)); }

int64_t GroupBytes(int page_tokens, int64_t page_bytes) {
  return InBlocks(kSlotsPerGroup * EntryBytes(page_tokens)) + kSlotsPerGroup * InBlocks(page_bytes);
}

absl::Status Errno(const char* what) { return absl::ErrnoToStatus(errno, what); }

absl::Status WriteAll(int file, int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Errno("cannot be written");
    bytes = bytes.subspan(written);
    offset += written;
  }
  return absl::OkStatus();
}

// DATA_LOSS where the file ends before that.
absl::Status ReadAll(int file, int64_t offset, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t read = pread(file, bytes.data(), bytes.size(), offset);
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return Errno("cannot be read");
    if (read == 0) return absl::DataLossError("ends too early");
    bytes = bytes.subspan(read);
    offset += read;
  }
  return absl::OkStatus();
}

absl::Status MakeAnew(int file, const PageFormat& format) {
  if (ftruncate(file, 0) != 0) return Errno("cannot be emptied");
  return WriteAll(file, 0, EncodePageFileHeader(format));
}

// Leaves the file locked, with a header of this format, and no longer than it may be.
absl::Status Prepare(int file, const DiskSlotsOptions& options, int64_t max_bytes) {
  struct stat status;
  if (fstat(file, &status) != 0) return Errno("cannot be examined");
  if (!S_ISREG(status.st_mode)) return absl::InvalidArgumentError("is not a regular file");
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return absl::UnavailableError("is in use by another server");
    return Errno("cannot be locked");
  }
  if (status.st_size == 0) return MakeAnew(file, options.format);
  std::array<std::byte, kPageFileHeaderBytes> header = {};
  if (absl::Status read = ReadAll(file, 0, header); !read.ok() && !absl::IsDataLoss(read)) return read;
  if (absl::Status same = CheckPageFileHeader(header, options.format); !same.ok()) {
    return options.recreate ? MakeAnew(file, options.format) : same;
  }
  if (status.st_size > max_bytes && ftruncate(file, max_bytes) != 0) return Errno("cannot be cut");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DiskSlots>> DiskSlots::Open(const DiskSlotsOptions& options) {
  const PageFormat& format = options.format;
  QUIRE_CHECK(format.page_tokens >= 1 && format.page_bytes >= 1);
  const int64_t group_bytes = GroupBytes(format.page_tokens, format.page_bytes);
  const int64_t num_groups = std::min<int64_t>((options.max_bytes - kFirstGroup) / group_bytes,
                                               std::numeric_limits<SlotId>::max() / (2 * kSlotsPerGroup));
  if (num_groups < 1) {
    return absl::InvalidArgumentError(absl::StrCat("must be allowed at least ", kFirstGroup + group_bytes,
                                                   " bytes, for ", kSlotsPerGroup, " pages, got ", options.max_bytes));
  }
  // O_NONBLOCK: opening a pipe must not wait for someone at its other end.
  const int file = open(options.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (file < 0) return Errno("cannot be opened");
  absl::Cleanup close_file = [file] { close(file); };
  absl::Status prepared = Prepare(file, options, kFirstGroup + num_groups * group_bytes);
  if (!prepared.ok()) return prepared;
  std::move(close_file).Cancel();
  return std::unique_ptr<DiskSlots>(new DiskSlots(file, format, static_cast<int>(num_groups * kSlotsPerGroup)));
}

DiskSlots::DiskSlots(int file, const PageFormat& format, int num_slots)
    : file_(file), page_tokens_(format.page_tokens), page_bytes_(format.page_bytes), num_slots_(num_slots) {}

DiskSlots::~DiskSlots() { close(file_); }

int64_t DiskSlots::GroupOffset(SlotId slot) const {
  QUIRE_CHECK(0 <= slot && slot < num_slots_);
  return kFirstGroup + slot / kSlotsPerGroup * GroupBytes(page_tokens_, page_bytes_);
}

int64_t DiskSlots::EntryOffset(SlotId slot) const {
  return GroupOffset(slot) + slot % kSlotsPerGroup * EntryBytes(page_tokens_);
}

int64_t DiskSlots::PageOffset(SlotId slot) const {
  return GroupOffset(slot) + InBlocks(kSlotsPerGroup * EntryBytes(page_tokens_)) +
         slot % kSlotsPerGroup * InBlocks(page_bytes_);
}

std::vector<FoundPage> DiskSlots::FindPages() {
  std::vector<FoundPage> found;
  const int64_t entry_bytes = EntryBytes(page_tokens_);
  std::vector<std::byte> entries(kSlotsPerGroup * entry_bytes);
  for (SlotId first = 0; first < num_slots_; first += kSlotsPerGroup) {
    if (!ReadAll(file_, EntryOffset(first), entries).ok()) break;
    for (int i = 0; i < kSlotsPerGroup; ++i) {
      const auto bytes = std::span<const std::byte>(entries).subspan(i * entry_bytes, entry_bytes);
      auto entry = DecodePageEntry(bytes, page_tokens_);
      if (entry) found.push_back({first + i, std::move(entry->page), entry->sequence});
    }
  }
  return found;
}

absl::Status DiskSlots::Write(SlotId slot, const PageRecord& page, uint64_t sequence,
                              std::span<const std::byte> bytes) {
  QUIRE_CHECK(static_cast<int64_t>(bytes.size()) == page_bytes_);
  std::vector<std::byte> entry(PageEntryBytes(page_tokens_));
  EncodePageEntry({page, sequence, ChecksumOf(bytes)}, entry);
  if (absl::Status status = WriteAll(file_, PageOffset(slot), bytes); !status.ok()) return status;
  return WriteAll(file_, EntryOffset(slot), entry);
}

absl::Status DiskSlots::Read(SlotId slot, const PageRecord& page, uint64_t sequence, std::span<std::byte> bytes) {
  QUIRE_CHECK(static_cast<int64_t>(bytes.size()) == page_bytes_);
  std::vector<std::byte> entry_bytes(PageEntryBytes(page_tokens_));
  if (absl::Status status = ReadAll(file_, EntryOffset(slot), entry_bytes); !status.ok()) return status;
  auto entry = DecodePageEntry(entry_bytes, page_tokens_);
  if (!entry || entry->page != page) return absl::DataLossError("the slot holds another page");
  if (absl::Status status = ReadAll(file_, PageOffset(slot), bytes); !status.ok()) return status;
  if (ChecksumOf(bytes) != entry->payload) return absl::DataLossError("the page is not what its checksum says");
  // So that the next process knows, too. Where that fails, the page is older to it than it is.
  entry->sequence = sequence;
  EncodePageEntry(*entry, entry_bytes);
  WriteAll(file_, EntryOffset(slot), entry_bytes).IgnoreError();
  return absl::OkStatus();
}

absl::Status DiskSlots::Erase(SlotId slot) {
  return WriteAll(file_, EntryOffset(slot), std::vector<std::byte>(PageEntryBytes(page_tokens_)));
}

absl::Status DiskSlots::Clear() {
  return ftruncate(file_, kFirstGroup) == 0 ? absl::OkStatus() : Errno("cannot be emptied");
}

}  // namespace quire
