#include "engine/tokenizer/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/jinja/interpreter.h"
#include "engine/tokenizer/jinja/parser.h"
#include "engine/types/status_macros.h"

namespace quire {
namespace {

using jinja::Value;

constexpr size_t kMaxSourceBytes = 1 << 20;
// What rendering may cost besides what the length of the messages accounts for, and for each of their bytes: some
// tenths of a second and some tens of megabytes, many times what templates in use need.
constexpr size_t kBaseUnits = 32 << 20;
constexpr size_t kUnitsPerByte = 64;

absl::StatusOr<Value> MessageList(const std::vector<ChatMessage>& messages, jinja::Budget& budget) {
  std::vector<Value> list;
  for (const ChatMessage& message : messages) {
    ASSIGN_OR_RETURN(Value role, Value::MakeString(message.role, budget));
    ASSIGN_OR_RETURN(Value content, Value::MakeString(message.content, budget));
    ASSIGN_OR_RETURN(list.emplace_back(),
                     Value::MakeDict({{"role", std::move(role)}, {"content", std::move(content)}}, budget));
  }
  return Value::MakeList(std::move(list), budget);
}

}  // namespace

class ChatTemplate::Impl {
 public:
  jinja::Block program;
  std::string bos, eos;
};

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Make(std::string_view source, std::string_view bos,
                                                                 std::string_view eos) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template has ", source.size(), " bytes; at most ", kMaxSourceBytes, " can be"));
  }
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(impl->program, jinja::Parse(source));
  impl->bos = bos;
  impl->eos = eos;
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::string> ChatTemplate::Render(const std::vector<ChatMessage>& messages) const {
  size_t units = kBaseUnits;
  for (const ChatMessage& message : messages) {
    units += kUnitsPerByte * (sizeof(ChatMessage) + message.role.size() + message.content.size());
  }
  jinja::Budget budget(units);
  ASSIGN_OR_RETURN(Value list, MessageList(messages, budget));
  ASSIGN_OR_RETURN(Value bos, Value::MakeString(impl_->bos, budget));
  ASSIGN_OR_RETURN(Value eos, Value::MakeString(impl_->eos, budget));
  return jinja::Render(impl_->program,
                       {{"messages", std::move(list)},
                        {"add_generation_prompt", true},
                        {"bos_token", std::move(bos)},
                        {"eos_token", std::move(eos)}},
                       budget);
}

}  // namespace quire
