// What /v1/chat/completions is asked.
#pragma once

#include "absl/status/statusor.h"
#include "server/http/json.h"
#include "server/http/openai/request_fields.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

struct ChatRequest {
  PipelineRequest generation;
  AnswerOptions options;
  bool logprobs = false;

  int num_choices() const { return generation.generate.sampling.n; }
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored.
absl::StatusOr<ChatRequest> ParseChatRequest(const Json& body, const RequestChecks& checks);

}  // namespace quire
