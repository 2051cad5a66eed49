// Errors in the form that OpenAI's clients read: {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "server/http/http_message.h"

namespace quire {

// The response to a request that failed with `status`, which is not OK. `param` is the field at fault, as HTTP clients
// name it; a RetryInfo becomes Retry-After.
HttpResponse ErrorResponse(const absl::Status& status);

// The same for what has no status: broken HTTP, unknown paths.
HttpResponse ErrorResponse(int http_status, const std::string& message);

// The body alone, for a stream that has begun.
nlohmann::ordered_json ErrorBody(const absl::Status& status);

}  // namespace quire
