#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

std::string Utf8(int code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

}  // namespace

TokenizerSpec TinyTokenizerSpec(const std::vector<std::string>& merges, const std::vector<AddedToken>& added) {
  TokenizerSpec spec;
  spec.model = "gpt2";
  spec.pre = "gpt-2";
  int num_unprintable = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool unprintable = byte <= 0x20 || (byte >= 0x7F && byte <= 0xA0) || byte == 0xAD;
    spec.tokens.push_back(Utf8(unprintable ? 256 + num_unprintable++ : byte));
  }
  for (const std::string& merge : merges) {
    const size_t space = merge.find(' ');
    spec.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  spec.merges = merges;
  spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
  for (const auto& [text, kind] : added) {
    spec.tokens.push_back(text);
    spec.kinds.push_back(kind);
  }
  return spec;
}

}  // namespace quire
