// What /v1/responses is asked.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/http/json.h"
#include "server/http/openai/response_store.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

struct ResponseRequest {
  PipelineRequest generation;
  bool stream = false;
  bool store = true;
  std::string tenant;                // Whose it is: its name.
  std::string previous_response_id;  // Empty: the conversation begins here.
  // What the answer repeats of the request.
  Json settings;
  // As StoredResponse::messages, of the prompt. Empty where nothing is to be stored.
  std::string messages;
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored. What went before is
// still missing, see WithHistory.
absl::StatusOr<ResponseRequest> ParseResponseRequest(const Json& body, const RequestChecks& checks);

// Puts the conversation that the request goes on with before what it says. Takes time in the conversation's length.
absl::StatusOr<ResponseRequest> WithHistory(ResponseRequest request, ResponseStore& store, const RequestChecks& checks);

}  // namespace quire
