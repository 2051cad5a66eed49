#include "server/sessions/session_prompt.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

// Stands for the last answer, whose tokens are there already. No template changes it, and none has it.
constexpr char kAnswer[] = "{history:3f7c1e5a}";
constexpr size_t kMaxRoleBytes = 64;
constexpr char kAssistant[] = "assistant";

absl::StatusOr<std::vector<std::string>> NewRoles(const Conversation& conversation, const std::string& field) {
  std::vector<std::string> roles;
  for (const Json& message : conversation.messages) {
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string() || role->get_ref<const std::string&>().size() > kMaxRoleBytes) {
      return InvalidField(absl::StrCat(field, "[", roles.size(), "].role"),
                          absl::StrCat("must be a text of at most ", kMaxRoleBytes, " bytes in a session"));
    }
    roles.push_back(role->get<std::string>());
  }
  if (!conversation.continue_final_message) roles.push_back(kAssistant);
  return roles;
}

// What the template writes after the history's last message.
absl::StatusOr<std::string> RenderNew(std::vector<std::string> history, const Conversation& conversation,
                                      const ChatTemplate& chat_template, const std::string& field) {
  Conversation whole = conversation;
  if (!history.empty()) {
    whole.messages = Json::array();
    for (const std::string& role : history) whole.messages.push_back(TextMessage(role, ""));
    whole.messages.back()["content"] = kAnswer;
    for (const Json& message : conversation.messages) whole.messages.push_back(message);
  }
  absl::StatusOr<std::string> text = chat_template.Render(whole);
  if (!text.ok()) return AboutField(field, text.status());
  if (history.empty()) return text;
  const size_t answer = text->find(kAnswer);
  if (answer == std::string::npos) {
    return absl::FailedPreconditionError("the model's chat template drops earlier answers: it cannot go on with a session");
  }
  return text->substr(answer + sizeof(kAnswer) - 1);
}

}  // namespace

absl::StatusOr<SessionPrompt> MakeSessionPrompt(const SessionHistoryPtr& history, const Prompt& prompt,
                                                const std::string& field, const Tokenizer& tokenizer,
                                                const ChatTemplate* chat_template) {
  SessionPrompt result;
  result.tokens = TokensOf(history);
  const bool begins = result.tokens.empty();
  std::vector<TokenId> added;
  if (const auto* given = std::get_if<std::vector<TokenId>>(&prompt)) {
    added = *given;
  } else {
    std::string text;
    bool add_special = false;
    if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
      ASSIGN_OR_RETURN(result.roles, NewRoles(*conversation, field));
      ASSIGN_OR_RETURN(text, RenderNew(RolesOf(history), *conversation, *chat_template, field));
    } else {
      text = std::get<std::string>(prompt);
      add_special = begins;
    }
    absl::StatusOr<std::vector<TokenId>> encoded =
        tokenizer.Encode(text, {.add_special = add_special, .parse_special = true});
    if (!encoded.ok()) return AboutField(field, encoded.status());
    added = *std::move(encoded);
    // A chat after plain text: its beginning is none.
    if (!begins && !added.empty() && added.front() == tokenizer.bos()) added.erase(added.begin());
  }
  if (added.empty()) return InvalidField(field, "must add at least one token to the session");
  result.tokens.insert(result.tokens.end(), added.begin(), added.end());
  return result;
}

}  // namespace quire
