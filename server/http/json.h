// JSON in and out.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/http/http_message.h"

namespace quire {

using Json = nlohmann::ordered_json;

// The object in a request's body. INVALID_ARGUMENT for anything else, for text that is not UTF-8, and for what is
// nested more than 64 deep, or has so many values or keys that reading it costs out of proportion to its length.
absl::StatusOr<Json> ParseJsonObject(std::string_view body);

// Whatever bytes are in it: those that are not UTF-8 come out as U+FFFD.
std::string ToText(const Json& json);

HttpResponse JsonResponse(const Json& json);

}  // namespace quire
