// A conversation as OpenAI's chat endpoint is sent it.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/conversation.h"
#include "server/http/json_fields.h"
#include "server/request_checks.h"

namespace quire {

// `messages`: content is text, or a list of parts of text, which are joined by line breaks.
absl::StatusOr<Conversation> ReadConversation(const JsonFields& fields, const RequestChecks& checks);

}  // namespace quire
