#include "engine/tokenizer/conversation.h"

#include <utility>

namespace quire {

Json TextMessage(std::string role, std::string content) {
  return Json::object({{"role", std::move(role)}, {"content", std::move(content)}});
}

size_t SizeOf(const Json& value) {
  size_t size = sizeof(Json);
  if (value.is_string()) size += value.get_ref<const std::string&>().size();
  if (value.is_array()) {
    for (const Json& item : value) size += SizeOf(item);
  }
  if (value.is_object()) {
    for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) size += key.size() + SizeOf(item);
  }
  return size;
}

size_t SizeOf(const Conversation& conversation) {
  return SizeOf(conversation.messages) + SizeOf(conversation.tools) + SizeOf(conversation.documents) +
         SizeOf(conversation.variables);
}

}  // namespace quire
