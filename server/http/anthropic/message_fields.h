// A conversation as Anthropic's API is sent it.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/conversation.h"
#include "server/http/json_fields.h"
#include "server/request_checks.h"

namespace quire {

// `system` and `messages`: text, or blocks of text, calls of tools, their results, and what was thought. A last message
// of the assistant's is one to go on with. Tools are not among it.
absl::StatusOr<Conversation> ReadAnthropicConversation(const JsonFields& fields, const RequestChecks& checks);

}  // namespace quire
