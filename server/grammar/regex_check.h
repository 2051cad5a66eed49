// What a regular expression may not be built like: the compiler takes each group and each quantifier of a quantifier
// for a level of recursion.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace quire {

// INVALID_ARGUMENT "must have ..." for too many groups, or a row of quantifiers. Says nothing about syntax.
absl::Status CheckRegex(std::string_view regex);

}  // namespace quire
