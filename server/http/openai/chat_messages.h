// A conversation as OpenAI's chat endpoint is sent it, with what vLLM adds.
#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/conversation.h"
#include "server/http/json_fields.h"
#include "server/request_checks.h"

namespace quire {

// `messages`: content is text, or a list of parts of text, which are joined by line breaks. Also `documents`,
// `chat_template_kwargs`, `add_generation_prompt` and `continue_final_message`. Tools are not among it.
absl::StatusOr<Conversation> ReadConversation(const JsonFields& fields, const RequestChecks& checks);

}  // namespace quire
