// JSON in and out.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/types/json.h"
#include "server/http/http_message.h"

namespace quire {

// The object in a request's body, within the bounds of ParseJson. INVALID_ARGUMENT for anything else.
absl::StatusOr<Json> ParseJsonObject(std::string_view body);

// Whatever bytes are in it: those that are not UTF-8 come out as U+FFFD.
std::string ToText(const Json& json);

HttpResponse JsonResponse(const Json& json);

}  // namespace quire
