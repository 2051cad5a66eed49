// PageEntry: the header that a page has in a tier, and its form in bytes, which is part of the file's format. Nothing in
// it is believed before its checksum holds.
//
//   0   checksum of all that follows (XXH3)     40  parent: hash, check
//   8   sequence                                56  payload: XXH3-128, low and high half
//   16  salt                                    72  tokens, 4 bytes each
//   24  key: hash, check
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "block_manager/tiers/page_record.h"

namespace quire {

struct PayloadChecksum {
  uint64_t low = 0;
  uint64_t high = 0;

  friend bool operator==(const PayloadChecksum&, const PayloadChecksum&) = default;
};

// XXH3-128 of a page's contents.
PayloadChecksum ChecksumOf(std::span<const std::byte> payload);

struct PageEntry {
  PageRecord page;
  uint64_t sequence = 0;  // Grows with every use: who was used least recently, over restarts.
  PayloadChecksum payload;

  friend bool operator==(const PageEntry&, const PageEntry&) = default;
};

constexpr size_t PageEntryBytes(int page_tokens) { return 72 + size_t{4} * static_cast<size_t>(page_tokens); }

// REQUIRES: `bytes` has PageEntryBytes of the page's tokens.
void EncodePageEntry(const PageEntry& entry, std::span<std::byte> bytes);
// What lies there, or nothing if the checksum says that nothing whole does. REQUIRES: as above.
std::optional<PageEntry> DecodePageEntry(std::span<const std::byte> bytes, int page_tokens);

}  // namespace quire
