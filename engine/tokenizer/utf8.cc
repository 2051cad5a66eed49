#include "engine/tokenizer/utf8.h"

#include <cstdint>
#include <cstring>

namespace quire {
namespace {

struct Sequence {
  enum Kind { kCharacter, kInvalid, kIncomplete };
  Kind kind;
  size_t length;
};

// How many bytes a lead byte announces (0: not a lead byte), and the range of its second byte, which is what rules out
// overlong forms, surrogates and code points past U+10FFFF (Unicode, table 3-7).
struct Lead {
  size_t length;
  uint8_t second_min = 0x80, second_max = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

// The character at the front of `bytes`, which are not empty, or the longest part of one.
Sequence FirstSequence(std::string_view bytes) {
  const Lead lead = LeadOf(bytes[0]);
  if (lead.length == 0) return {Sequence::kInvalid, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Sequence::kIncomplete, i};
    const uint8_t byte = bytes[i];
    const bool continues = i == 1 ? lead.second_min <= byte && byte <= lead.second_max : 0x80 <= byte && byte <= 0xBF;
    if (!continues) return {Sequence::kInvalid, i};
  }
  return {Sequence::kCharacter, lead.length};
}

// Where the first sequence that is not a character begins; eight ASCII bytes at a time.
size_t ValidPrefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    uint64_t eight;
    if (i + sizeof(eight) <= bytes.size()) {
      std::memcpy(&eight, bytes.data() + i, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        i += sizeof(eight);
        continue;
      }
    }
    const Sequence sequence = FirstSequence(bytes.substr(i));
    if (sequence.kind != Sequence::kCharacter) break;
    i += sequence.length;
  }
  return i;
}

}  // namespace

std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  const size_t valid = ValidPrefix(text);
  if (valid == text.size()) return std::nullopt;
  return valid;
}

size_t AppendValidUtf8(std::string_view bytes, bool at_end, std::string& out) {
  size_t taken = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(taken);
    const size_t valid = ValidPrefix(rest);
    out.append(rest.substr(0, valid));
    taken += valid;
    if (taken == bytes.size()) return taken;
    const Sequence broken = FirstSequence(bytes.substr(taken));
    if (broken.kind == Sequence::kIncomplete && !at_end) return taken;
    out.append("\uFFFD");
    taken += broken.length;
  }
}

}  // namespace quire
