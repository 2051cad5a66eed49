// What /v1/responses is asked.
#pragma once

#include <string>
#include <vector>

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
  bool logprobs = false;             // Of the text.
  // What the answer repeats of the request.
  Json settings;
  // As StoredResponse::items, of the prompt. Empty where nothing is to be stored.
  std::string items;
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored. What went before is
// still missing, see WithHistory.
absl::StatusOr<ResponseRequest> ParseResponseRequest(const Json& body, const RequestChecks& checks);

// Puts the conversation that the request goes on with before what it says. Takes time in the conversation's length.
absl::StatusOr<ResponseRequest> WithHistory(ResponseRequest request, ResponseStore& store, const RequestChecks& checks);

// `path` is where the list stands of what an answer is to tell besides: what this server's answers never have is passed
// over, and what no answer has is refused. Sets `logprobs` if those of the text are wanted.
absl::Status ReadInclude(const std::vector<std::string>& include, const std::string& path, bool& logprobs);

}  // namespace quire
