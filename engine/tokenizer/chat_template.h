// The model's own Jinja chat template.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

struct ChatMessage {
  std::string role;
  std::string content;
};

// Immutable once made; any thread may call Render.
class ChatTemplate {
 public:
  // bos and eos are the texts of those tokens, for templates that use them. INVALID_ARGUMENT when the template does not
  // parse.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Make(std::string_view source, std::string_view bos,
                                                            std::string_view eos);
  ~ChatTemplate();

  // The prompt text for `messages`, ending where the assistant's answer begins. INVALID_ARGUMENT with the template's
  // own words when it refuses the messages (raise_exception) or fails; bounded in output size.
  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages) const;

 private:
  class Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire
