// Text as clients' messages have it: plain, or as a list of parts.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/http/json_fields.h"

namespace quire {

// Joins parts by line breaks. Each part is a string, or an object with "text" whose "type" is one of `types` (the
// first, where it has none). INVALID_ARGUMENT names the part at fault: "messages[0].content[1].type".
absl::StatusOr<std::string> ReadTextContent(const Json& json, const std::string& path,
                                            std::span<const std::string_view> types);

}  // namespace quire
