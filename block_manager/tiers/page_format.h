// PageFormat: what a page's bytes mean, and who can use them: only a server for which all of it is the same. The header
// of a file of pages is this and a checksum.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"

namespace quire {

struct PageFormat {
  static constexpr size_t kMaxText = 120;

  uint64_t model_fingerprint = 0;
  int page_tokens = 0;
  int64_t page_bytes = 0;
  // Texts are of at most kMaxText bytes; what is longer is cut.
  std::string layout;      // Of keys and values: "30 layers, 3 heads of 64, bfloat16".
  std::string arithmetic;  // By which they were computed, to the bit: "cpu, avx512-vnni".
};

inline constexpr size_t kPageFileHeaderBytes = 512;

std::array<std::byte, kPageFileHeaderBytes> EncodePageFileHeader(const PageFormat& format);
// OK if these bytes are the header of a file with pages of this format. FAILED_PRECONDITION says what they are instead,
// to go on after "the file".
absl::Status CheckPageFileHeader(std::span<const std::byte, kPageFileHeaderBytes> bytes, const PageFormat& format);

}  // namespace quire
