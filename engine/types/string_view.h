// Debian's abseil has a string_view of its own; this is the one place that converts to it.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace quire {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace quire
