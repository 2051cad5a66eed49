// What /v1/embeddings is asked.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http/json.h"
#include "server/http/openai/prompt_fields.h"
#include "server/request_checks.h"

namespace quire {

struct EmbeddingOptions {
  bool base64 = false;            // Little-endian floats in base64 instead of numbers.
  std::optional<int> dimensions;  // Only so many of the first, normalised again.
  bool normalize = true;
};

struct EmbeddingRequest {
  std::vector<NamedPrompt> prompts;
  EmbeddingOptions options;
  int priority = 0;
};

// INVALID_ARGUMENT names the field at fault; NOT_FOUND, what is served. Unknown fields are ignored.
absl::StatusOr<EmbeddingRequest> ParseEmbeddingRequest(const Json& body, const RequestChecks& checks);

}  // namespace quire
