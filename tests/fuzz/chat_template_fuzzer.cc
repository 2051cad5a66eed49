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
  const auto prompt =
      (*chat_template)->Render({{"system", "Be brief."}, {"user", "Grüß 世界 \xFF"}, {"assistant", ""}});
  QUIRE_CHECK(prompt.ok() || prompt.status().code() == absl::StatusCode::kInvalidArgument);
  return 0;
}
