// Structural tags as clients write them: texts, schemas, regular expressions and grammars, put together.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// The JSON that xgrammar takes for `tag`, which is {"type": "structural_tag", "format": {"type": ..., ...}} or, as
// there was before, {"type": "structural_tag", "structures": [{"begin", "schema", "end"}, ...], "triggers": [...]}. At
// most `max_whitespace` characters of white space come one after the other between two parts of JSON text.
//
// INVALID_ARGUMENT says where and what: "must be JSON ...", "at $.format.content.pattern: must not be empty". Each
// schema, regular expression and grammar within is held to what is asked of one that stands alone, and what would be
// passed over, or is about tokens instead of text, is refused by name.
absl::StatusOr<std::string> ReadStructuralTag(std::string_view tag, int max_whitespace);

}  // namespace quire
