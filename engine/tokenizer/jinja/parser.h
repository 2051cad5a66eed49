// Parses the template language: Jinja as chat templates use it. There are no includes, inheritance or imports; what is
// not known is an error that names it.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/ast.h"

namespace quire::jinja {

// INVALID_ARGUMENT says what is wrong and in which line.
absl::StatusOr<Block> Parse(std::string_view source);

}  // namespace quire::jinja
