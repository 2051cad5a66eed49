// What /v1/completions is asked.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http/json.h"
#include "server/http/openai/request_fields.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

struct CompletionPrompt {
  Prompt prompt;      // Text or tokens.
  std::string field;  // Where it stands: "prompt", or "prompt[1]".
  // For answers that repeat the prompt.
  std::string echo;
  TokenId first_token = 0;
};

struct CompletionRequest {
  std::vector<CompletionPrompt> prompts;
  GenerateRequest generate;  // The same for each of them.
  OutputFormat output_format;
  AnswerOptions options;
  bool echo = false;
  bool no_output = false;  // max_tokens is 0: one token is generated, as there has to be, and not told.
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored.
absl::StatusOr<CompletionRequest> ParseCompletionRequest(const Json& body, const RequestChecks& checks);

}  // namespace quire
