#include "server/http/openai/response_items.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/conversation.h"
#include "engine/types/status_macros.h"
#include "server/http/text_content.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr std::string_view kContentTypes[] = {"input_text", "output_text", "text"};

absl::StatusOr<std::string> ReadText(const JsonFields& item, const char* name) {
  const Json* json = item.Find(name);
  if (json == nullptr) return InvalidField(item.Path(name), "must be set");
  return ReadTextContent(*json, item.Path(name), kContentTypes);
}

absl::Status ReadMessage(const JsonFields& item, Json& messages) {
  std::string role;
  RETURN_IF_ERROR(item.ReadRequired("role", role));
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant") {
    return InvalidField(
        item.Path("role"),
        absl::StrCat("must be \"user\", \"assistant\", \"system\" or \"developer\", got \"", role, "\""));
  }
  ASSIGN_OR_RETURN(std::string text, ReadText(item, "content"));
  messages.push_back(TextMessage(std::move(role), std::move(text)));
  return absl::OkStatus();
}

// A call is a part of the assistant's message before it, if there is one.
absl::Status ReadCall(const JsonFields& item, Json& messages) {
  std::string id, name, arguments;
  RETURN_IF_ERROR(item.ReadRequired("call_id", id));
  RETURN_IF_ERROR(item.ReadRequired("name", name));
  RETURN_IF_ERROR(item.ReadRequired("arguments", arguments));
  if (messages.empty() || messages.back()["role"] != "assistant") messages.push_back(TextMessage("assistant", ""));
  messages.back()["tool_calls"].push_back(FunctionCall(std::move(id), std::move(name), std::move(arguments)));
  return absl::OkStatus();
}

absl::Status ReadOutput(const JsonFields& item, Json& messages) {
  std::string id;
  RETURN_IF_ERROR(item.ReadRequired("call_id", id));
  ASSIGN_OR_RETURN(std::string output, ReadText(item, "output"));
  Json message = TextMessage("tool", std::move(output));
  message["tool_call_id"] = std::move(id);
  messages.push_back(std::move(message));
  return absl::OkStatus();
}

absl::Status ReadItem(const JsonFields& item, Json& messages) {
  std::string type = "message";
  RETURN_IF_ERROR(item.Read("type", type));
  if (type == "message") return ReadMessage(item, messages);
  if (type == "function_call") return ReadCall(item, messages);
  if (type == "function_call_output") return ReadOutput(item, messages);
  if (type == "reasoning") return absl::OkStatus();
  return InvalidField(
      item.Path("type"),
      absl::StrCat("must be \"message\", \"function_call\", \"function_call_output\" or \"reasoning\", got \"", type,
                   "\""));
}

}  // namespace

absl::StatusOr<Json> ReadResponseInput(const JsonFields& fields) {
  const Json* json = fields.Find("input");
  if (json == nullptr) return InvalidField("input", "must be set");
  Json messages = Json::array();
  if (json->is_string()) {
    messages.push_back(TextMessage("user", json->get<std::string>()));
    return messages;
  }
  if (!json->is_array()) return WrongType(*json, "input", "a string or a list of items");
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string path = absl::StrCat("input[", i, "]");
    if (!(*json)[i].is_object()) return WrongType((*json)[i], path, "an object");
    RETURN_IF_ERROR(ReadItem(JsonFields((*json)[i], path), messages));
  }
  if (messages.empty()) return InvalidField("input", "must have at least one message, call or output");
  return messages;
}

}  // namespace quire
