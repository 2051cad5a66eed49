#include "server/http/openai/chat_messages.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/text_content.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr std::string_view kContentTypes[] = {"text"};

absl::StatusOr<std::string> ReadContent(const JsonFields& message) {
  const Json* json = message.Find("content");
  if (json == nullptr) return std::string();
  return ReadTextContent(*json, message.Path("content"), kContentTypes);
}

absl::StatusOr<Json> ReadToolCall(const Json& json, const std::string& path) {
  if (!json.is_object()) return WrongType(json, path, "an object with id, type and function");
  const JsonFields fields(json, path);
  std::string id, type = "function", name, arguments;
  std::optional<JsonFields> function;
  RETURN_IF_ERROR(fields.Read("id", id));
  RETURN_IF_ERROR(fields.Read("type", type));
  if (type != "function") return InvalidField(fields.Path("type"), "must be \"function\"");
  RETURN_IF_ERROR(fields.ReadObject("function", function));
  if (!function) return InvalidField(fields.Path("function"), "must be set");
  RETURN_IF_ERROR(function->Read("name", name));
  if (name.empty()) return InvalidField(function->Path("name"), "must be set");
  RETURN_IF_ERROR(function->Read("arguments", arguments));
  return FunctionCall(std::move(id), std::move(name), std::move(arguments));
}

absl::Status ReadToolCalls(const JsonFields& fields, Json& message) {
  const Json* json = fields.Find("tool_calls");
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_array()) return WrongType(*json, fields.Path("tool_calls"), "a list");
  Json calls = Json::array();
  for (size_t i = 0; i < json->size(); ++i) {
    ASSIGN_OR_RETURN(Json call, ReadToolCall((*json)[i], absl::StrCat(fields.Path("tool_calls"), "[", i, "]")));
    calls.push_back(std::move(call));
  }
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return absl::OkStatus();
}

// What templates know of a message, and nothing else that it has.
absl::StatusOr<Json> ReadMessage(const Json& json, const std::string& path) {
  if (!json.is_object()) return WrongType(json, path, "an object with role and content");
  const JsonFields fields(json, path);
  std::string role;
  RETURN_IF_ERROR(fields.Read("role", role));
  if (role.empty()) {
    return InvalidField(fields.Path("role"), "must be set, as \"system\", \"user\", \"assistant\" or \"tool\"");
  }
  if (role == "developer") role = "system";  // Its name for models that no template here is of.
  ASSIGN_OR_RETURN(std::string content, ReadContent(fields));
  Json message = TextMessage(std::move(role), std::move(content));
  for (const char* name : {"name", "tool_call_id", "reasoning_content"}) {
    std::optional<std::string> text;
    RETURN_IF_ERROR(fields.Read(name, text));
    if (text) message[name] = *std::move(text);
  }
  RETURN_IF_ERROR(ReadToolCalls(fields, message));
  return message;
}

// A list of objects for the template, or null.
absl::StatusOr<Json> ReadDocuments(const JsonFields& fields) {
  const Json* json = fields.Find("documents");
  if (json == nullptr) return Json();
  if (!json->is_array()) return WrongType(*json, "documents", "a list of objects");
  for (size_t i = 0; i < json->size(); ++i) {
    if (!(*json)[i].is_object()) return WrongType((*json)[i], absl::StrCat("documents[", i, "]"), "an object");
  }
  return *json;
}

absl::StatusOr<Json> ReadTemplateVariables(const JsonFields& fields) {
  constexpr char kName[] = "chat_template_kwargs";
  const Json* json = fields.Find(kName);
  if (json == nullptr) return Json::object();
  if (!json->is_object()) return WrongType(*json, kName, "an object");
  for (const char* name : {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}) {
    if (json->contains(name)) {
      return InvalidField(absl::StrCat(kName, ".", name), "must not be set: the request has a field of its own for it");
    }
  }
  return *json;
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
  ASSIGN_OR_RETURN(conversation.documents, ReadDocuments(fields));
  ASSIGN_OR_RETURN(conversation.variables, ReadTemplateVariables(fields));
  RETURN_IF_ERROR(fields.Read("add_generation_prompt", conversation.add_generation_prompt));
  RETURN_IF_ERROR(fields.Read("continue_final_message", conversation.continue_final_message));
  if (conversation.add_generation_prompt && conversation.continue_final_message) {
    return InvalidField("continue_final_message", "must not be set unless add_generation_prompt is false");
  }
  RETURN_IF_ERROR(checks.PromptBytes("messages", TextBytes(conversation)));
  return conversation;
}

}  // namespace quire
