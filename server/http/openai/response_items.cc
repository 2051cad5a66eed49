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

// A part of a message's content, in full.
Json ContentPart(const Json& part, bool output) {
  Json whole = part.is_string() ? Json{{"type", "text"}, {"text", part}} : part;
  Json& type = whole["type"];
  if (!type.is_string() || type == "text") type = output ? "output_text" : "input_text";
  if (type == "output_text" && !whole.contains("annotations")) whole["annotations"] = Json::array();
  return whole;
}

Json InputItem(const Json& given, const std::string& id) {
  Json item = {{"type", "message"}};
  item.update(given);
  if (!item["type"].is_string()) item["type"] = "message";
  item["id"] = id;
  item["status"] = "completed";
  if (item["type"] != "message") return item;
  const Json parts = given["content"].is_array() ? given["content"] : Json::array({given["content"]});
  Json& content = item["content"] = Json::array();
  for (const Json& part : parts) content.push_back(ContentPart(part, given["role"] == "assistant"));
  return item;
}

}  // namespace

absl::StatusOr<Json> ReadResponseInput(const JsonFields& fields) {
  const Json* json = fields.Find("input");
  if (json == nullptr) return InvalidField("input", "must be set");
  if (json->is_string()) return Json::array({TextMessage("user", json->get<std::string>())});
  if (!json->is_array()) return WrongType(*json, "input", "a string or a list of items");
  ASSIGN_OR_RETURN(Json messages, MessagesOfItems(*json, "input"));
  if (messages.empty()) return InvalidField("input", "must have at least one message, call or output");
  return messages;
}

absl::StatusOr<Json> MessagesOfItems(const Json& items, const std::string& path) {
  Json messages = Json::array();
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string place = absl::StrCat(path, "[", i, "]");
    if (!items[i].is_object()) return WrongType(items[i], place, "an object");
    RETURN_IF_ERROR(ReadItem(JsonFields(items[i], place), messages));
  }
  return messages;
}

Json InputItems(const Json& input, const std::string& key) {
  Json items = Json::array();
  if (input.is_string()) {
    items.push_back(InputItem({{"role", "user"}, {"content", input}}, ItemId(key, 0)));
    return items;
  }
  for (const Json& item : input) items.push_back(InputItem(item, ItemId(key, items.size())));
  return items;
}

std::string ItemId(const std::string& key, size_t index) { return absl::StrCat("item_", key, "_", index); }

std::string ElementsText(const Json& list) {
  const std::string text = ToText(list);
  return text.substr(1, text.size() - 2);
}

}  // namespace quire
