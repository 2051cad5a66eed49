#include "block_manager/tiers/page_format.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are little endian and are copied as they lie");

constexpr std::string_view kMagic = "quire kv pages\n";
constexpr uint32_t kVersion = 1;

// What lies at the beginning of the file. All else of kPageFileHeaderBytes is zeros.
struct Header {
  char magic[16] = {};
  uint32_t version = kVersion;
  uint32_t page_tokens = 0;
  uint64_t page_bytes = 0;
  uint64_t model_fingerprint = 0;
  char layout[PageFormat::kMaxText] = {};
  char arithmetic[PageFormat::kMaxText] = {};
  uint64_t checksum = 0;  // XXH3 of all before it.
};
static_assert(std::has_unique_object_representations_v<Header> && sizeof(Header) <= kPageFileHeaderBytes);

template <size_t N>
void CopyText(std::string_view text, char (&to)[N]) {
  std::copy_n(text.data(), std::min(text.size(), N), to);
}

template <size_t N>
std::string TextOf(const char (&bytes)[N]) {
  const std::string_view text(bytes, N);
  return absl::CEscape(std::string(text.substr(0, text.find('\0'))));
}

uint64_t ChecksumOf(const Header& header) { return XXH3_64bits(&header, offsetof(Header, checksum)); }

Header MakeHeader(const PageFormat& format) {
  Header header;
  CopyText(kMagic, header.magic);
  header.page_tokens = static_cast<uint32_t>(format.page_tokens);
  header.page_bytes = static_cast<uint64_t>(format.page_bytes);
  header.model_fingerprint = format.model_fingerprint;
  CopyText(format.layout, header.layout);
  CopyText(format.arithmetic, header.arithmetic);
  header.checksum = ChecksumOf(header);
  return header;
}

absl::Status Differs(const std::string& what) { return absl::FailedPreconditionError(what); }

}  // namespace

std::array<std::byte, kPageFileHeaderBytes> EncodePageFileHeader(const PageFormat& format) {
  std::array<std::byte, kPageFileHeaderBytes> bytes = {};
  const Header header = MakeHeader(format);
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

absl::Status CheckPageFileHeader(std::span<const std::byte, kPageFileHeaderBytes> bytes, const PageFormat& format) {
  Header found;
  std::memcpy(&found, bytes.data(), sizeof(found));
  const Header wanted = MakeHeader(format);
  if (std::memcmp(found.magic, wanted.magic, sizeof(found.magic)) != 0) return Differs("holds no KV pages");
  if (found.version != wanted.version) {
    return Differs(absl::StrCat("has version ", found.version, " of its format, not ", wanted.version));
  }
  if (found.checksum != ChecksumOf(found)) return Differs("has a damaged header");
  if (found.model_fingerprint != wanted.model_fingerprint) return Differs("holds pages of another model");
  if (found.page_tokens != wanted.page_tokens) {
    return Differs(absl::StrCat("has pages of ", found.page_tokens, " tokens, not ", wanted.page_tokens));
  }
  if (TextOf(found.layout) != TextOf(wanted.layout) || found.page_bytes != wanted.page_bytes) {
    return Differs(absl::StrCat("has pages of ", TextOf(found.layout), " (", found.page_bytes, " bytes), not of ",
                                TextOf(wanted.layout), " (", wanted.page_bytes, " bytes)"));
  }
  if (TextOf(found.arithmetic) != TextOf(wanted.arithmetic)) {
    return Differs(absl::StrCat("has pages computed by ", TextOf(found.arithmetic), ", not by ",
                                TextOf(wanted.arithmetic)));
  }
  return absl::OkStatus();
}

}  // namespace quire
