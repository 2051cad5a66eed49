#include "server/http/openai/completion_request.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/json_fields.h"
#include "server/http/openai/output_format_fields.h"
#include "server/http/openai/prompt_fields.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr int kDefaultMaxTokens = 16;

absl::Status ReadPrompts(const JsonFields& fields, const RequestChecks& checks, CompletionRequest& request) {
  std::vector<NamedPrompt> prompts;
  RETURN_IF_ERROR(ReadPrompts(fields, "prompt", checks, prompts));
  for (NamedPrompt& named : prompts) {
    CompletionPrompt& prompt = request.prompts.emplace_back();
    prompt.prompt = std::move(named.prompt);
    prompt.field = std::move(named.field);
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
  RETURN_IF_ERROR(ReadPrompts(fields, checks, request));
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
