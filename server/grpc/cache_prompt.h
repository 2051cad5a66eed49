// Prompts of the cache's and the sessions' services: as text, as tokens, or as the chat that would send them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "quire/v1/cache.pb.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire {

struct ParsedPrompt {
  Prompt prompt;
  std::string field;  // Where its text stands in the request.
};

// `field` is where the prompt stands in its request. INVALID_ARGUMENT and NOT_FOUND as RequestParser's.
absl::StatusOr<ParsedPrompt> ParsePrompt(const RequestParser& parser, const v1::CachePrompt& prompt,
                                         const std::string& field);

}  // namespace quire
