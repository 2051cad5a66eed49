// What the answers of OpenAI's endpoints have in common.
#pragma once

#include <string>

#include "engine/types/step_output.h"
#include "server/http/api.h"
#include "server/http/json.h"

namespace quire {

// {"id": "<prefix>-<request>", "object", "created", "model"}: what every answer and every event of it begins with.
Json AnswerHead(const HttpApi& api, const std::string& id, const char* object);

// {"cached_tokens"} of a prompt, and which of them were fetched from a tier: beyond OpenAI's API, and only where there
// are any.
Json CachedTokensJson(const Usage& usage);
Json UsageJson(const Usage& usage);

// "stop", "length", or null.
Json FinishReasonJson(FinishReason reason);
// The same of a chat's answer, which may also be over with "tool_calls".
Json FinishReasonJson(const ResponseDelta& delta);

}  // namespace quire
