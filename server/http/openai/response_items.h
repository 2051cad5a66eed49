// The input of /v1/responses, as messages that templates know.
#pragma once

#include "absl/status/statusor.h"
#include "server/http/json_fields.h"

namespace quire {

// `input`: the user's text, or items: messages, calls of functions and their outputs. What was thought is left out.
absl::StatusOr<Json> ReadResponseInput(const JsonFields& fields);

}  // namespace quire
