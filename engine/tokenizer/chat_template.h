// The model's own Jinja chat template.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/conversation.h"

namespace quire {

// Immutable once made; any thread may call Render.
class ChatTemplate {
 public:
  // bos and eos are the texts of those tokens, for templates that use them. INVALID_ARGUMENT when the template does not
  // parse.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Make(std::string_view source, std::string_view bos,
                                                            std::string_view eos);
  ~ChatTemplate();

  // The prompt text for a conversation. A template that wants a content as a list of parts, or a tool call's arguments
  // as an object, is given those. INVALID_ARGUMENT with the template's own words when it refuses
  // the messages (raise_exception) or fails; bounded in time, and in output size. REQUIRES: messages is a list, variables
  // an object.
  absl::StatusOr<std::string> Render(const Conversation& conversation) const;

  // As the model file has it.
  const std::string& source() const;

 private:
  class Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire
