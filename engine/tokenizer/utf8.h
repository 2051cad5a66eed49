// UTF-8: where a text stops being valid, and text made valid as it arrives.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace quire {

// The byte offset where `text` first is not UTF-8 (surrogates and overlong forms are not), if it anywhere is not.
std::optional<size_t> FindInvalidUtf8(std::string_view text);

// Appends `bytes` to `out` with U+FFFD for each maximal part that cannot be UTF-8 (Unicode 3.9, as Python's
// errors="replace"). Unless `at_end`, leaves an incomplete last character. Returns the number of bytes taken.
size_t AppendValidUtf8(std::string_view bytes, bool at_end, std::string& out);

}  // namespace quire
