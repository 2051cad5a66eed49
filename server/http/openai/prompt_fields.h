// Prompts as OpenAI's requests have them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/http/json_fields.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"

namespace quire {

struct NamedPrompt {
  Prompt prompt;      // Text or tokens.
  std::string field;  // Where it stands: "prompt", or "prompt[1]".
};

// Reads the field `name`: a text, tokens, or a list of either. INVALID_ARGUMENT where it is missing.
absl::Status ReadPrompts(const JsonFields& fields, const std::string& name, const RequestChecks& checks,
                         std::vector<NamedPrompt>& prompts);

}  // namespace quire
