// What /v1/messages and /v1/messages/count_tokens are asked.
#pragma once

#include "absl/status/statusor.h"
#include "server/http/json.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

struct MessageRequest {
  PipelineRequest generation;
  bool stream = false;
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored.
absl::StatusOr<MessageRequest> ParseMessageRequest(const Json& body, const RequestChecks& checks);

// The prompt alone.
absl::StatusOr<PipelineRequest> ParseCountTokensRequest(const Json& body, const RequestChecks& checks);

}  // namespace quire
