// Text of others, for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace quire {

// `text` without control characters other than the ends of lines and tabs: what a model says must not move the cursor,
// or worse. `text` is UTF-8.
std::string ForTerminal(std::string_view text);

}  // namespace quire
