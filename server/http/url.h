// The target of an HTTP request.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace quire {

// "/a%20b?c=d" -> {"/a b", "c=d"}. An escape that is none stays as it is.
std::pair<std::string, std::string> SplitTarget(std::string_view target);

}  // namespace quire
