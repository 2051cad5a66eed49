#include "server/grpc/cache_prompt.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/status_details.h"

namespace quire {
namespace {

// A status about a field of a message, said about that message's place in another one.
absl::Status Within(const std::string& parent, const absl::Status& status) {
  const std::string field = FieldOf(status);
  if (field.empty()) return status;
  const std::string message(status.message());
  const bool begins_with_field = message.compare(0, field.size() + 1, field + " ") == 0;
  return InvalidField(absl::StrCat(parent, ".", field), begins_with_field ? message.substr(field.size() + 1) : message);
}

template <typename Request>
absl::StatusOr<ParsedPrompt> ParseAs(const RequestParser& parser, const Request& request, const std::string& parent,
                                     const std::string& field) {
  absl::StatusOr<PipelineRequest> parsed = parser.Parse(request);
  if (!parsed.ok()) return Within(parent, parsed.status());
  return ParsedPrompt{std::move(parsed->prompt), absl::StrCat(parent, ".", field)};
}

}  // namespace

absl::StatusOr<ParsedPrompt> ParsePrompt(const RequestParser& parser, const v1::CachePrompt& prompt,
                                         const std::string& field) {
  v1::GenerateRequest request;
  switch (prompt.prompt_case()) {
    case v1::CachePrompt::kText:
      request.set_text(prompt.text());
      return ParseAs(parser, request, field, "text");
    case v1::CachePrompt::kTokenIds:
      *request.mutable_token_ids() = prompt.token_ids();
      return ParseAs(parser, request, field, "token_ids");
    case v1::CachePrompt::kChat:
      return ParseAs(parser, prompt.chat(), absl::StrCat(field, ".chat"), "messages");
    case v1::CachePrompt::PROMPT_NOT_SET:
      break;
  }
  return InvalidField(field, "must be set: text, token_ids or chat");
}

}  // namespace quire
