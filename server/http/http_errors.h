// Errors in the forms that clients read.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/http/http_message.h"
#include "server/http/json.h"

namespace quire {

enum class ErrorForm {
  kOpenAi,     // {"error": {"message", "type", "param", "code"}}
  kAnthropic,  // {"type": "error", "error": {"type", "message"}}
};

// That of the API which the path belongs to.
ErrorForm ErrorFormOf(const HttpRequest& request);

// The response to a request that failed with `status`, which is not OK. `param` is the field at fault, as HTTP clients
// name it; a RetryInfo becomes Retry-After.
HttpResponse ErrorResponse(const absl::Status& status, ErrorForm form = ErrorForm::kOpenAi);

// The same for what has no status: broken HTTP, unknown paths.
HttpResponse ErrorResponse(int http_status, const std::string& message, ErrorForm form = ErrorForm::kOpenAi);

// The body alone, for a stream that has begun.
Json ErrorBody(const absl::Status& status, ErrorForm form = ErrorForm::kOpenAi);

}  // namespace quire
