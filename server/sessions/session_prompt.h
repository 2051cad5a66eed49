// The tokens of a session's next request: its history, which stays as it is to the token, and what is new.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/prompt.h"
#include "server/sessions/session_history.h"

namespace quire {

struct SessionPrompt {
  std::vector<TokenId> tokens;     // All of them, the history's first.
  std::vector<std::string> roles;  // Of the messages that the request adds, its answer's included.
};

// New messages are rendered behind place holders for the history's, so that what the template would make of those a
// second time (trimmed, or without their reasoning) does not matter. `chat_template` may be null where the prompt is no
// conversation. INVALID_ARGUMENT is said about `field`.
absl::StatusOr<SessionPrompt> MakeSessionPrompt(const SessionHistoryPtr& history, const Prompt& prompt,
                                                const std::string& field, const Tokenizer& tokenizer,
                                                const ChatTemplate* chat_template);

}  // namespace quire
