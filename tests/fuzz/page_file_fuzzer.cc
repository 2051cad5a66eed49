// Any bytes as a file of KV pages. The first byte says how: as it is, or behind a header and with entries whose
// checksums hold. It is opened or refused; what it is said to have can be asked for, and only whole pages come out.
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block_manager/tiers/disk_slots.h"
#include "block_manager/tiers/page_entry.h"
#include "kernels/check.h"

namespace {

using namespace quire;

constexpr int kPageTokens = 2;
constexpr int64_t kPageBytes = 16;
constexpr size_t kEntryBytes = PageEntryBytes(kPageTokens);
constexpr size_t kFirstEntry = 4096;
constexpr size_t kNumEntries = 16;

DiskSlotsOptions Options(int file) {
  return {.path = "/proc/self/fd/" + std::to_string(file),
          .max_bytes = 1 << 18,
          .format = {.model_fingerprint = 1,
                     .page_tokens = kPageTokens,
                     .page_bytes = kPageBytes,
                     .layout = "L",
                     .arithmetic = "A"}};
}

void MakeWhole(std::vector<std::byte>& bytes, const PageFormat& format) {
  const auto header = EncodePageFileHeader(format);
  bytes.insert(bytes.begin(), kFirstEntry, std::byte{0});
  std::ranges::copy(header, bytes.begin());
  for (size_t i = 0; i < kNumEntries; ++i) {
    const size_t begin = kFirstEntry + i * kEntryBytes;
    if (begin + kEntryBytes > bytes.size()) return;
    const uint64_t checksum = XXH3_64bits(bytes.data() + begin + 8, kEntryBytes - 8);
    std::memcpy(bytes.data() + begin, &checksum, sizeof(checksum));
  }
}

// The page that the entry in this slot claims to be of, if there is one.
std::optional<PageEntry> EntryIn(int file, const DiskSlots& slots, SlotId slot) {
  std::vector<std::byte> bytes(kEntryBytes);
  const ssize_t read = pread(file, bytes.data(), bytes.size(), slots.EntryOffset(slot));
  if (read != static_cast<ssize_t>(bytes.size())) return std::nullopt;
  return DecodePageEntry(bytes, kPageTokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1 << 18) return 0;
  const int file = memfd_create("pages", MFD_CLOEXEC);
  QUIRE_CHECK(file >= 0);
  const DiskSlotsOptions options = Options(file);
  const auto rest = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> bytes(rest.begin(), rest.end());
  if (data[0] % 2 == 1) MakeWhole(bytes, options.format);
  QUIRE_CHECK(pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  if (auto slots = DiskSlots::Open(options); slots.ok()) {
    for (const FoundPage& found : (*slots)->FindPages()) {
      const auto entry = EntryIn(file, **slots, found.slot);
      QUIRE_CHECK(entry && entry->page == found.page);
      std::vector<std::byte> page(kPageBytes);
      const absl::Status status = (*slots)->Read(found.slot, entry->page, 1, page);
      QUIRE_CHECK(status.ok() ? ChecksumOf(page) == entry->payload : absl::IsDataLoss(status));
    }
  }
  close(file);
  return 0;
}
