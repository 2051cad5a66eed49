#include "block_manager/tiers/page_entry.h"

#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>

#include "kernels/check.h"

namespace quire {
namespace {

static_assert(std::endian::native == std::endian::little, "entries are little endian and are copied as they lie");

constexpr size_t kChecksumBytes = 8;
constexpr size_t kTokensAt = 72;
using Words = std::array<uint64_t, 8>;
static_assert(kChecksumBytes + sizeof(Words) == kTokensAt);

uint64_t EntryChecksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data() + kChecksumBytes, bytes.size() - kChecksumBytes);
}

}  // namespace

PayloadChecksum ChecksumOf(std::span<const std::byte> payload) {
  const XXH128_hash_t hash = XXH3_128bits(payload.data(), payload.size());
  return {hash.low64, hash.high64};
}

void EncodePageEntry(const PageEntry& entry, std::span<std::byte> bytes) {
  const PageRecord& page = entry.page;
  QUIRE_CHECK(bytes.size() == PageEntryBytes(static_cast<int>(page.tokens.size())));
  const Words words = {entry.sequence,    page.salt,         page.key.hash,     page.key.check,
                       page.parent.hash, page.parent.check, entry.payload.low, entry.payload.high};
  std::memcpy(bytes.data() + kChecksumBytes, words.data(), sizeof(words));
  std::memcpy(bytes.data() + kTokensAt, page.tokens.data(), bytes.size() - kTokensAt);
  const uint64_t checksum = EntryChecksum(bytes);
  std::memcpy(bytes.data(), &checksum, kChecksumBytes);
}

std::optional<PageEntry> DecodePageEntry(std::span<const std::byte> bytes, int page_tokens) {
  QUIRE_CHECK(bytes.size() == PageEntryBytes(page_tokens));
  uint64_t checksum;
  std::memcpy(&checksum, bytes.data(), kChecksumBytes);
  if (checksum != EntryChecksum(bytes)) return std::nullopt;
  Words words;
  std::memcpy(words.data(), bytes.data() + kChecksumBytes, sizeof(words));
  PageEntry entry;
  entry.sequence = words[0];
  entry.page.salt = words[1];
  entry.page.key = {words[2], words[3]};
  entry.page.parent = {words[4], words[5]};
  entry.payload = {words[6], words[7]};
  entry.page.tokens.resize(page_tokens);
  std::memcpy(entry.page.tokens.data(), bytes.data() + kTokensAt, bytes.size() - kTokensAt);
  return entry;
}

}  // namespace quire
