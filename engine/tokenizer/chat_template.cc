#include "engine/tokenizer/chat_template.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/interpreter.h"
#include "engine/tokenizer/jinja/json_value.h"
#include "engine/tokenizer/jinja/parser.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

using jinja::Value;

constexpr size_t kMaxSourceBytes = 1 << 20;
// What rendering may cost besides what the size of the conversation accounts for, and for each of its bytes: some
// tenths of a second and some tens of megabytes, many times what templates in use need.
constexpr size_t kBaseUnits = 32 << 20;
constexpr size_t kUnitsPerByte = 64;

// Makes objects of the arguments of a message's tool calls. What a model wrote need not be JSON: such stays text.
void ParseArguments(Json& message) {
  if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) return;
  const Json::json_pointer path("/function/arguments");
  for (Json& call : message["tool_calls"]) {
    if (!call.contains(path) || !call[path].is_string()) continue;
    absl::StatusOr<Json> parsed = ParseJson(call[path].get_ref<const std::string&>());
    if (parsed.ok()) call[path] = *std::move(parsed);
  }
}

// Cuts a prompt after the last message's content, which the answer is to continue. Templates may strip what they show.
absl::StatusOr<std::string> CutAfterFinalMessage(std::string prompt, const Json& messages) {
  const Json content = messages.empty() ? Json() : messages.back().value("content", Json());
  const std::string text = content.is_string() ? content.get<std::string>() : "";
  const absl::string_view without_lead = absl::StripLeadingAsciiWhitespace(text);
  const absl::string_view stripped = absl::StripTrailingAsciiWhitespace(without_lead);
  const size_t at =
      stripped.empty() ? std::string::npos : prompt.rfind(stripped.data(), std::string::npos, stripped.size());
  if (at == std::string::npos) {
    return absl::InvalidArgumentError("the last message has no text that the chat template shows, to be continued");
  }
  const bool shown_whole = prompt.compare(at, without_lead.size(), without_lead.data(), without_lead.size()) == 0;
  prompt.resize(at + (shown_whole ? without_lead.size() : stripped.size()));
  return prompt;
}

}  // namespace

class ChatTemplate::Impl {
 public:
  absl::StatusOr<std::string> Render(const Conversation& conversation) const;
  // Finds out how the template wants its messages, by trying.
  void Probe();

  std::string source;
  jinja::Block program;
  std::string bos, eos;

 private:
  absl::StatusOr<std::string> RenderAsIs(const Conversation& conversation, const Json& messages) const;
  bool Shows(const Json& messages, std::string_view what) const;

  bool contents_are_parts_ = false;  // Contents are [{"type": "text", "text": ...}].
  bool arguments_are_text_ = false;  // Arguments of tool calls are JSON text; else objects.
};

absl::StatusOr<std::string> ChatTemplate::Impl::RenderAsIs(const Conversation& conversation,
                                                           const Json& messages) const {
  jinja::Budget budget(kBaseUnits + kUnitsPerByte * SizeOf(conversation));
  std::vector<std::pair<std::string, Value>> variables;
  const auto add = [&](std::string name, absl::StatusOr<Value> value) -> absl::Status {
    RETURN_IF_ERROR(value.status());
    variables.emplace_back(std::move(name), *std::move(value));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(add("bos_token", Value::MakeString(bos, budget)));
  RETURN_IF_ERROR(add("eos_token", Value::MakeString(eos, budget)));
  for (const auto& [name, value] : conversation.variables.get_ref<const Json::object_t&>()) {
    RETURN_IF_ERROR(add(name, jinja::FromJson(value, budget)));
  }
  RETURN_IF_ERROR(add("messages", jinja::FromJson(messages, budget)));
  RETURN_IF_ERROR(add("tools", jinja::FromJson(conversation.tools, budget)));
  RETURN_IF_ERROR(add("documents", jinja::FromJson(conversation.documents, budget)));
  RETURN_IF_ERROR(add("add_generation_prompt", Value(conversation.add_generation_prompt)));
  return jinja::Render(program, std::move(variables), budget);
}

absl::StatusOr<std::string> ChatTemplate::Impl::Render(const Conversation& conversation) const {
  Json messages = conversation.messages;
  for (Json& message : messages) {
    if (contents_are_parts_ && message.contains("content") && message["content"].is_string()) {
      message["content"] = Json::array({{{"type", "text"}, {"text", message["content"]}}});
    }
    if (!arguments_are_text_) ParseArguments(message);
  }
  ASSIGN_OR_RETURN(std::string prompt, RenderAsIs(conversation, messages));
  if (!conversation.continue_final_message) return prompt;
  return CutAfterFinalMessage(std::move(prompt), conversation.messages);
}

bool ChatTemplate::Impl::Shows(const Json& messages, std::string_view what) const {
  const absl::StatusOr<std::string> prompt = RenderAsIs({.messages = messages}, messages);
  return prompt.ok() && prompt->find(what) != std::string::npos;
}

void ChatTemplate::Impl::Probe() {
  constexpr std::string_view kText = "Zm9v", kKey = "YmFy";
  Json question = TextMessage("user", std::string(kText));
  const Json parts = Json::array({{{"type", "text"}, {"text", kText}}});
  contents_are_parts_ =
      !Shows(Json::array({question}), kText) && Shows(Json::array({{{"role", "user"}, {"content", parts}}}), kText);
  if (contents_are_parts_) question["content"] = parts;

  Json answer = TextMessage("assistant", "");
  answer["tool_calls"] = Json::array({FunctionCall("abcdefghi", "f", Json::object({{kKey, 1}}).dump())});
  const Json as_text = Json::array({question, answer});
  Json as_object = as_text;
  ParseArguments(as_object[1]);
  arguments_are_text_ = !Shows(as_object, kKey) && Shows(as_text, kKey);
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Make(std::string_view source, std::string_view bos,
                                                                 std::string_view eos) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template has ", source.size(), " bytes; at most ", kMaxSourceBytes, " can be"));
  }
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(impl->program, jinja::Parse(source));
  impl->source = source;
  impl->bos = bos;
  impl->eos = eos;
  impl->Probe();
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::string> ChatTemplate::Render(const Conversation& conversation) const {
  return impl_->Render(conversation);
}

const std::string& ChatTemplate::source() const { return impl_->source; }

}  // namespace quire
