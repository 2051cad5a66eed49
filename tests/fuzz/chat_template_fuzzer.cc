// Any bytes as a chat template: refused or rendered, and nothing else.
#include "engine/tokenizer/chat_template.h"
#include "kernels/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quire::ChatTemplate;
  const auto chat_template = ChatTemplate::Make({reinterpret_cast<const char*>(data), size}, "<s>", "</s>");
  if (!chat_template.ok()) {
    QUIRE_CHECK(chat_template.status().code() == absl::StatusCode::kInvalidArgument);
    return 0;
  }
  quire::Conversation conversation;
  conversation.messages =
      quire::Json::array({quire::TextMessage("system", "Be brief."), quire::TextMessage("user", "Grüß 世界 \xFF"),
                          quire::TextMessage("assistant", "")});
  conversation.messages.back()["tool_calls"] = quire::Json::parse(
      R"([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": [1, 2.5, null, true, {}]}"}}])");
  conversation.tools = quire::Json::parse(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])");
  const auto prompt = (*chat_template)->Render(conversation);
  QUIRE_CHECK(prompt.ok() || prompt.status().code() == absl::StatusCode::kInvalidArgument);
  return 0;
}
