#include "server/http/openai/prompt_fields.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxPrompts = 1024;

// A text, or tokens.
absl::StatusOr<NamedPrompt> ReadPrompt(const Json& json, const std::string& field, const RequestChecks& checks) {
  NamedPrompt prompt;
  prompt.field = field;
  if (json.is_array()) {
    std::vector<TokenId> tokens;
    RETURN_IF_ERROR(FromJson(json, field, tokens));
    if (tokens.empty()) return InvalidField(field, "must not be empty");
    RETURN_IF_ERROR(checks.TokenIds(field, tokens));
    prompt.prompt = std::move(tokens);
    return prompt;
  }
  if (!json.is_string()) return WrongType(json, field, "a string or a list of tokens");
  const std::string& text = json.get_ref<const std::string&>();
  RETURN_IF_ERROR(checks.PromptBytes(field, text.size()));
  prompt.prompt = text;
  return prompt;
}

}  // namespace

absl::Status ReadPrompts(const JsonFields& fields, const std::string& name, const RequestChecks& checks,
                         std::vector<NamedPrompt>& prompts) {
  const Json* json = fields.Find(name);
  if (json == nullptr) return InvalidField(name, "must be set");
  if (!json->is_array() || json->empty() || json->front().is_number()) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), ReadPrompt(*json, name, checks));
    return absl::OkStatus();
  }
  if (json->size() > kMaxPrompts) {
    return InvalidField(name, absl::StrCat("must have at most ", kMaxPrompts, " entries, got ", json->size()));
  }
  for (size_t i = 0; i < json->size(); ++i) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), ReadPrompt((*json)[i], absl::StrCat(name, "[", i, "]"), checks));
  }
  return absl::OkStatus();
}

}  // namespace quire
