#include "server/http/anthropic/message_fields.h"

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

constexpr std::string_view kTextTypes[] = {"text"};

// The blocks of one message, taken one by one, as messages that templates know.
class BlockReader {
 public:
  BlockReader(std::string role, Json& messages) : role_(std::move(role)), messages_(messages) {}

  absl::Status Take(const JsonFields& block) {
    std::string type = "text";
    RETURN_IF_ERROR(block.Read("type", type));
    if (type == "text") return TakeText(block, "text", text_);
    if (role_ == "user" && type == "tool_result") return TakeResult(block);
    if (role_ == "assistant" && type == "tool_use") return TakeCall(block);
    if (role_ == "assistant" && type == "thinking") return TakeText(block, "thinking", thinking_);
    if (role_ == "assistant" && type == "redacted_thinking") return absl::OkStatus();
    return InvalidField(block.Path("type"),
                        absl::StrCat("must be \"text\" or \"", role_ == "user" ? "tool_result" : "tool_use",
                                     "\" in a message of the ", role_, "'s, got \"", type, "\""));
  }

  // There are no more. A message without any is one without text.
  void Finish() {
    if (!taken_ && !text_.has_value()) text_ = "";
    Flush();
  }

 private:
  absl::Status TakeText(const JsonFields& block, const char* name, std::optional<std::string>& text) {
    std::string more;
    RETURN_IF_ERROR(block.ReadRequired(name, more));
    text = text.has_value() ? absl::StrCat(*text, "\n", more) : std::move(more);
    return absl::OkStatus();
  }

  // The result is a message of its own, behind the text before it.
  absl::Status TakeResult(const JsonFields& block) {
    std::string id, content;
    RETURN_IF_ERROR(block.ReadRequired("tool_use_id", id));
    if (const Json* json = block.Find("content")) {
      ASSIGN_OR_RETURN(content, ReadTextContent(*json, block.Path("content"), kTextTypes));
    }
    Flush();
    Json message = TextMessage("tool", std::move(content));
    message["tool_call_id"] = std::move(id);
    Push(std::move(message));
    return absl::OkStatus();
  }

  absl::Status TakeCall(const JsonFields& block) {
    std::string id, name;
    RETURN_IF_ERROR(block.ReadRequired("id", id));
    RETURN_IF_ERROR(block.ReadRequired("name", name));
    std::optional<JsonFields> checked;
    RETURN_IF_ERROR(block.ReadObject("input", checked));
    const Json* input = block.Find("input");
    calls_.push_back(FunctionCall(std::move(id), std::move(name), input == nullptr ? "{}" : ToText(*input)));
    return absl::OkStatus();
  }

  void Flush() {
    if (!text_.has_value() && !thinking_.has_value() && calls_.empty()) return;
    Json message = TextMessage(role_, std::exchange(text_, std::nullopt).value_or(""));
    if (thinking_.has_value()) message["reasoning_content"] = *std::exchange(thinking_, std::nullopt);
    if (!calls_.empty()) message["tool_calls"] = std::exchange(calls_, Json::array());
    Push(std::move(message));
  }
  void Push(Json message) {
    taken_ = true;
    messages_.push_back(std::move(message));
  }

  const std::string role_;
  Json& messages_;
  std::optional<std::string> text_, thinking_;
  Json calls_ = Json::array();
  bool taken_ = false;  // Some message was made.
};

absl::Status ReadMessage(const Json& json, const std::string& path, Json& messages) {
  if (!json.is_object()) return WrongType(json, path, "an object with role and content");
  const JsonFields fields(json, path);
  std::string role;
  RETURN_IF_ERROR(fields.ReadRequired("role", role));
  if (role != "user" && role != "assistant") {
    return InvalidField(fields.Path("role"), absl::StrCat("must be \"user\" or \"assistant\", got \"", role, "\""));
  }
  const Json* content = fields.Find("content");
  if (content == nullptr) return InvalidField(fields.Path("content"), "must be set");
  if (content->is_string()) {
    messages.push_back(TextMessage(std::move(role), content->get<std::string>()));
    return absl::OkStatus();
  }
  if (!content->is_array()) return WrongType(*content, fields.Path("content"), "a string or a list of blocks");
  BlockReader reader(std::move(role), messages);
  for (size_t i = 0; i < content->size(); ++i) {
    const std::string block_path = absl::StrCat(fields.Path("content"), "[", i, "]");
    if (!(*content)[i].is_object()) return WrongType((*content)[i], block_path, "an object with type");
    RETURN_IF_ERROR(reader.Take(JsonFields((*content)[i], block_path)));
  }
  reader.Finish();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Conversation> ReadAnthropicConversation(const JsonFields& fields, const RequestChecks& checks) {
  Conversation conversation;
  if (const Json* system = fields.Find("system")) {
    ASSIGN_OR_RETURN(std::string text, ReadTextContent(*system, fields.Path("system"), kTextTypes));
    conversation.messages.push_back(TextMessage("system", std::move(text)));
  }
  const Json* json = fields.Find("messages");
  if (json == nullptr) return InvalidField("messages", "must be set");
  if (!json->is_array()) return WrongType(*json, "messages", "a list");
  if (json->empty()) return InvalidField("messages", "must not be empty");
  for (size_t i = 0; i < json->size(); ++i) {
    RETURN_IF_ERROR(ReadMessage((*json)[i], absl::StrCat("messages[", i, "]"), conversation.messages));
  }
  const Json& last = conversation.messages.back();
  conversation.continue_final_message = last["role"] == "assistant" && !last.contains("tool_calls");
  conversation.add_generation_prompt = !conversation.continue_final_message;
  RETURN_IF_ERROR(checks.PromptBytes("messages", TextBytes(conversation)));
  return conversation;
}

}  // namespace quire
