// What a client asks to be continued: text, tokens, or a conversation.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "block_manager/ids.h"
#include "engine/tokenizer/conversation.h"

namespace quire {

using Prompt = std::variant<std::string, std::vector<TokenId>, Conversation>;

}  // namespace quire
