// What of JSON Schema is followed to the letter. A keyword that would be passed over is refused instead: an answer that
// the schema does not accept is worse than none.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace quire {

// INVALID_ARGUMENT that says where and what: "must be ...", "at $.properties.age: ...". Bounded in time and stack,
// whatever `schema` is; it says nothing about patterns and references, which the grammar compiler reads.
absl::Status CheckJsonSchema(std::string_view schema);

}  // namespace quire
