#include "server/http/openai/completion_request.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/json_fields.h"
#include "server/http/openai/output_format_fields.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxPrompts = 1024;
constexpr int kDefaultMaxTokens = 16;

// A text, or tokens.
absl::StatusOr<CompletionPrompt> ReadPrompt(const Json& json, const std::string& field, const RequestChecks& checks) {
  CompletionPrompt prompt;
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

// One, or a list of them.
absl::Status ReadPrompts(const JsonFields& fields, const RequestChecks& checks,
                         std::vector<CompletionPrompt>& prompts) {
  constexpr char kName[] = "prompt";
  const Json* json = fields.Find(kName);
  if (json == nullptr) return InvalidField(kName, "must be set");
  if (!json->is_array() || json->empty() || json->front().is_number()) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), ReadPrompt(*json, kName, checks));
    return absl::OkStatus();
  }
  if (json->size() > kMaxPrompts) {
    return InvalidField(kName, absl::StrCat("must have at most ", kMaxPrompts, " entries, got ", json->size()));
  }
  for (size_t i = 0; i < json->size(); ++i) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), ReadPrompt((*json)[i], absl::StrCat(kName, "[", i, "]"), checks));
  }
  return absl::OkStatus();
}

absl::Status ReadMaxTokens(const JsonFields& fields, CompletionRequest& request) {
  int max_tokens = kDefaultMaxTokens;
  RETURN_IF_ERROR(fields.Read("max_tokens", max_tokens));
  if (max_tokens < 0) return InvalidField("max_tokens", absl::StrCat("must not be negative, got ", max_tokens));
  request.no_output = max_tokens == 0;
  request.generate.sampling.max_tokens = std::max(max_tokens, 1);
  return absl::OkStatus();
}

// Of the prompt's tokens, too, where that is part of the answer.
absl::Status ReadLogprobs(const JsonFields& fields, CompletionRequest& request) {
  std::optional<int> logprobs;
  RETURN_IF_ERROR(fields.Read("logprobs", logprobs));
  if (!logprobs.has_value()) return absl::OkStatus();
  if (*logprobs < 0) return InvalidField("logprobs", absl::StrCat("must not be negative, got ", *logprobs));
  request.generate.sampling.logprobs = *logprobs;
  if (request.echo) request.generate.sampling.prompt_logprobs = *logprobs;
  return absl::OkStatus();
}

absl::Status RefuseUnsupported(const JsonFields& fields, int n) {
  std::string suffix;
  RETURN_IF_ERROR(fields.Read("suffix", suffix));
  if (!suffix.empty()) return InvalidField("suffix", "must not be set: the model only continues texts");
  int best_of = n;
  RETURN_IF_ERROR(fields.Read("best_of", best_of));
  if (best_of != n) return InvalidField("best_of", absl::StrCat("must be n, which is ", n, ", got ", best_of));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompletionRequest> ParseCompletionRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  CompletionRequest request;
  SamplingParams& sampling = request.generate.sampling;
  RETURN_IF_ERROR(ReadModel(fields, checks));
  RETURN_IF_ERROR(ReadPrompts(fields, checks, request.prompts));
  RETURN_IF_ERROR(fields.Read("echo", request.echo));
  RETURN_IF_ERROR(ReadAnswerOptions(fields, request.options));
  RETURN_IF_ERROR(ReadSampling(fields, sampling));
  RETURN_IF_ERROR(ReadMaxTokens(fields, request));
  RETURN_IF_ERROR(ReadLogprobs(fields, request));
  RETURN_IF_ERROR(RefuseUnsupported(fields, sampling.n));
  RETURN_IF_ERROR(checks.Sampling(sampling));
  RETURN_IF_ERROR(fields.Read("priority", request.generate.priority));
  RETURN_IF_ERROR(ReadOutputFormat(fields, request.output_format));
  return request;
}

}  // namespace quire
