// Names from a file as errors show them.
#pragma once

#include <string>
#include <string_view>

namespace quire {

// In quotes, control characters escaped, and not endless.
std::string Quoted(std::string_view name);

}  // namespace quire
