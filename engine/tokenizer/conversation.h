// What a chat template renders: a conversation as JSON has it, so that whatever a client's messages carry (tool calls,
// names, reasoning) reaches the template without anybody between having to know it.
#pragma once

#include <cstddef>
#include <string>

#include "engine/types/json.h"

namespace quire {

struct Conversation {
  // Objects with "role" and, mostly, "content", a text. In "tool_calls", each function's "arguments" are the JSON text
  // that the model wrote.
  Json messages = Json::array();
  Json tools = nullptr;      // A list of objects, or null.
  Json documents = nullptr;  // A list of objects, or null.
  // Further variables of the template by their names, as "enable_thinking".
  Json variables = Json::object();
  // The prompt ends where the assistant's answer begins.
  bool add_generation_prompt = true;
  // The prompt ends with the last message's content, which the answer continues. Not together with the former.
  bool continue_final_message = false;
};

Json TextMessage(std::string role, std::string content);
// An element of a message's "tool_calls"; `arguments` is the JSON text that the model wrote.
Json FunctionCall(std::string id, std::string name, std::string arguments);

// The bytes of all strings in it.
size_t TextBytes(const Conversation& conversation);
// Those, the keys', and those of what holds them.
size_t SizeOf(const Conversation& conversation);

}  // namespace quire
