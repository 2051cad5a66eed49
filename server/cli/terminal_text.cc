#include "server/cli/terminal_text.h"

namespace quire {

std::string ForTerminal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c0 = byte < 0x20 || byte == 0x7f;
    if (c0 && byte != '\n' && byte != '\t') continue;
    // U+0080 to U+009F.
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) {
      ++i;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace quire
