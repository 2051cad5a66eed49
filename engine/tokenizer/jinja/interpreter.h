// Renders a parsed template.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/ast.h"

namespace quire::jinja {

// The text of `program` with these variables. INVALID_ARGUMENT for a mistake in the template, in its own words where it
// calls raise_exception, and when `budget` is used up.
absl::StatusOr<std::string> Render(const Block& program, std::vector<std::pair<std::string, Value>> variables,
                                   Budget& budget);

}  // namespace quire::jinja
