#include "engine/tokenizer/conversation.h"

#include <utility>

namespace quire {
namespace {

enum class Count { kStrings, kEverything };

size_t Measure(const Json& value, Count count) {
  const bool everything = count == Count::kEverything;
  size_t size = everything ? sizeof(Json) : 0;
  if (value.is_string()) size += value.get_ref<const std::string&>().size();
  if (value.is_array()) {
    for (const Json& item : value) size += Measure(item, count);
  }
  if (value.is_object()) {
    for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
      size += (everything ? key.size() : 0) + Measure(item, count);
    }
  }
  return size;
}

size_t Measure(const Conversation& conversation, Count count) {
  return Measure(conversation.messages, count) + Measure(conversation.tools, count) +
         Measure(conversation.documents, count) + Measure(conversation.variables, count);
}

}  // namespace

Json TextMessage(std::string role, std::string content) {
  return Json::object({{"role", std::move(role)}, {"content", std::move(content)}});
}

Json FunctionCall(std::string id, std::string name, std::string arguments) {
  Json function = {{"name", std::move(name)}, {"arguments", std::move(arguments)}};
  return Json::object({{"id", std::move(id)}, {"type", "function"}, {"function", std::move(function)}});
}

size_t TextBytes(const Conversation& conversation) { return Measure(conversation, Count::kStrings); }
size_t SizeOf(const Conversation& conversation) { return Measure(conversation, Count::kEverything); }

}  // namespace quire
