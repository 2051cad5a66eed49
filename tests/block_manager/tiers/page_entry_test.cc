#include "block_manager/tiers/page_entry.h"

#include <gtest/gtest.h>

#include "tests/block_manager/tiers/tier_fixture.h"

namespace quire {
namespace {

TEST(PageEntry, ComesBackAsItWas) {
  const PageEntry entry = {Page(10), 77, ChecksumOf(Contents(1))};
  std::vector<std::byte> bytes(PageEntryBytes(kPageTokens));
  EncodePageEntry(entry, bytes);
  EXPECT_EQ(DecodePageEntry(bytes, kPageTokens), entry);
}

TEST(PageEntry, WithAnyBitFlippedIsNone) {
  std::vector<std::byte> bytes(PageEntryBytes(kPageTokens));
  EncodePageEntry({Page(10), 77, ChecksumOf(Contents(1))}, bytes);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    bytes[i / 8] ^= std::byte{1} << i % 8;
    EXPECT_EQ(DecodePageEntry(bytes, kPageTokens), std::nullopt) << "bit " << i;
    bytes[i / 8] ^= std::byte{1} << i % 8;
  }
}

TEST(PageEntry, OfNothingButZerosIsNone) {
  EXPECT_EQ(DecodePageEntry(std::vector<std::byte>(PageEntryBytes(kPageTokens)), kPageTokens), std::nullopt);
}

}  // namespace
}  // namespace quire
