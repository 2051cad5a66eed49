#include "server/http/openai/chat_messages.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

absl::StatusOr<std::string> ReadPart(const Json& json, const std::string& path) {
  std::string type = "text", text;
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object()) return WrongType(json, path, "an object with type and text");
  const JsonFields part(json, path);
  RETURN_IF_ERROR(part.Read("type", type));
  if (type != "text") {
    return InvalidField(part.Path("type"),
                        absl::StrCat("must be \"text\", the only input there is, got \"", type, "\""));
  }
  if (part.Find("text") == nullptr) return InvalidField(part.Path("text"), "must be set");
  RETURN_IF_ERROR(part.Read("text", text));
  return text;
}

absl::StatusOr<std::string> ReadContent(const JsonFields& message) {
  const Json* json = message.Find("content");
  if (json == nullptr) return std::string();
  if (json->is_string()) return json->get<std::string>();
  if (!json->is_array()) return WrongType(*json, message.Path("content"), "a string or a list of parts");
  std::string content;
  for (size_t i = 0; i < json->size(); ++i) {
    ASSIGN_OR_RETURN(const std::string text, ReadPart((*json)[i], absl::StrCat(message.Path("content"), "[", i, "]")));
    absl::StrAppend(&content, i == 0 ? "" : "\n", text);
  }
  return content;
}

absl::StatusOr<Json> ReadMessage(const Json& json, const std::string& path) {
  if (!json.is_object()) return WrongType(json, path, "an object with role and content");
  const JsonFields fields(json, path);
  std::string role;
  RETURN_IF_ERROR(fields.Read("role", role));
  if (role.empty()) {
    return InvalidField(fields.Path("role"), "must be set, as \"system\", \"user\" or \"assistant\"");
  }
  ASSIGN_OR_RETURN(std::string content, ReadContent(fields));
  return TextMessage(std::move(role), std::move(content));
}

}  // namespace

absl::StatusOr<Conversation> ReadConversation(const JsonFields& fields, const RequestChecks& checks) {
  const Json* json = fields.Find("messages");
  if (json == nullptr) return InvalidField("messages", "must be set");
  if (!json->is_array()) return WrongType(*json, "messages", "a list");
  if (json->empty()) return InvalidField("messages", "must not be empty");
  Conversation conversation;
  for (size_t i = 0; i < json->size(); ++i) {
    ASSIGN_OR_RETURN(Json message, ReadMessage((*json)[i], absl::StrCat("messages[", i, "]")));
    conversation.messages.push_back(std::move(message));
  }
  RETURN_IF_ERROR(checks.PromptBytes("messages", SizeOf(conversation)));
  return conversation;
}

}  // namespace quire
