#include "server/http/openai/chat_request.h"

#include <optional>

#include "engine/types/status_macros.h"
#include "server/http/json_fields.h"
#include "server/http/openai/chat_messages.h"
#include "server/http/openai/output_format_fields.h"
#include "server/status_details.h"
#include "server/tools/apply_tools.h"

namespace quire {
namespace {

// By either name; as many as fit by default.
absl::Status ReadMaxTokens(const JsonFields& fields, int& max_tokens) {
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (fields.Find(name) == nullptr) continue;
    RETURN_IF_ERROR(fields.Read(name, max_tokens));
    if (max_tokens < 1) return InvalidField(name, "must be at least 1 where it is set");
  }
  return absl::OkStatus();
}

absl::Status ReadLogprobs(const JsonFields& fields, ChatRequest& request) {
  RETURN_IF_ERROR(fields.Read("logprobs", request.logprobs));
  std::optional<int> top;
  RETURN_IF_ERROR(fields.Read("top_logprobs", top));
  if (top.has_value() && *top != 0 && !request.logprobs) {
    return InvalidField("top_logprobs", "must not be set unless logprobs is true");
  }
  if (top.has_value() && (*top < 0 || *top > 20)) return InvalidField("top_logprobs", "must be in [0, 20]");
  if (request.logprobs) request.generation.generate.sampling.logprobs = top.value_or(0);
  return absl::OkStatus();
}

absl::Status ReadTools(const JsonFields& fields, const ServedModel& model, PipelineRequest& generation) {
  const Json* tools = fields.Find("tools");
  const Json* choice = fields.Find("tool_choice");
  bool parallel = true;
  RETURN_IF_ERROR(fields.Read("parallel_tool_calls", parallel));
  return ApplyTools(tools ? *tools : Json(), choice ? *choice : Json(), parallel, model, generation);
}

}  // namespace

absl::StatusOr<ChatRequest> ParseChatRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  ChatRequest request;
  PipelineRequest& generation = request.generation;
  RETURN_IF_ERROR(ReadModel(fields, checks));
  ASSIGN_OR_RETURN(generation.prompt, ReadConversation(fields, checks));
  RETURN_IF_ERROR(ReadAnswerOptions(fields, request.options));
  RETURN_IF_ERROR(ReadSampling(fields, generation.generate.sampling));
  RETURN_IF_ERROR(ReadMaxTokens(fields, generation.generate.sampling.max_tokens));
  RETURN_IF_ERROR(ReadLogprobs(fields, request));
  RETURN_IF_ERROR(checks.Sampling(generation.generate.sampling));
  RETURN_IF_ERROR(fields.Read("priority", generation.generate.priority));
  RETURN_IF_ERROR(ReadOutputFormat(fields, generation.output_format));
  RETURN_IF_ERROR(ReadTools(fields, checks.model(), generation));
  return request;
}

}  // namespace quire
