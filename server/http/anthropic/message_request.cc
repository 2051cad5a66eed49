#include "server/http/anthropic/message_request.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/anthropic/message_fields.h"
#include "server/http/field_names.h"
#include "server/http/flat_tools.h"
#include "server/http/openai/output_format_fields.h"
#include "server/http/openai/request_fields.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr FlatToolNames kToolNames = {.type = "custom", .schema = "input_schema"};

// In the form of chat completions.
absl::StatusOr<Json> ReadToolChoice(const JsonFields& fields, bool& parallel) {
  std::optional<JsonFields> choice;
  RETURN_IF_ERROR(fields.ReadObject("tool_choice", choice));
  if (!choice.has_value()) return Json();
  bool disable_parallel = false;
  RETURN_IF_ERROR(choice->Read("disable_parallel_tool_use", disable_parallel));
  parallel = !disable_parallel;
  std::string type, name;
  RETURN_IF_ERROR(choice->ReadRequired("type", type));
  if (type == "auto" || type == "none") return Json(type);
  if (type == "any") return Json("required");
  if (type != "tool") {
    return InvalidField(choice->Path("type"),
                        absl::StrCat("must be \"auto\", \"any\", \"tool\" or \"none\", got \"", type, "\""));
  }
  RETURN_IF_ERROR(choice->ReadRequired("name", name));
  return NamedToolChoice(name);
}

// `output_config.format`.
absl::Status ReadFormat(const JsonFields& fields, OutputFormat& format) {
  std::optional<JsonFields> config;
  RETURN_IF_ERROR(fields.ReadObject("output_config", config));
  return config.has_value() ? ReadFlatOutputFormat(*config, "format", format) : absl::OkStatus();
}

absl::Status ReadMaxTokens(const JsonFields& fields, int& max_tokens) {
  RETURN_IF_ERROR(fields.ReadRequired("max_tokens", max_tokens));
  if (max_tokens < 1) return InvalidField("max_tokens", absl::StrCat("must be at least 1, got ", max_tokens));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PipelineRequest> ParseCountTokensRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  PipelineRequest request;
  RETURN_IF_ERROR(ReadModel(fields, checks));
  ASSIGN_OR_RETURN(request.prompt, ReadAnthropicConversation(fields, checks));
  RETURN_IF_ERROR(ReadFormat(fields, request.output_format));
  bool parallel = true;
  ASSIGN_OR_RETURN(const Json tools, ReadFlatTools(fields, kToolNames));
  ASSIGN_OR_RETURN(const Json choice, ReadToolChoice(fields, parallel));
  RETURN_IF_ERROR(ApplyFlatTools(tools, choice, parallel, kToolNames, checks.model(), request));
  return request;
}

absl::StatusOr<MessageRequest> ParseMessageRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  MessageRequest request;
  ASSIGN_OR_RETURN(request.generation, ParseCountTokensRequest(body, checks));
  SamplingParams& sampling = request.generation.generate.sampling;
  RETURN_IF_ERROR(ReadSamplingOfOne(fields, sampling));
  RETURN_IF_ERROR(ReadMaxTokens(fields, sampling.max_tokens));
  RETURN_IF_ERROR(fields.Read("stop_sequences", sampling.stop));
  RETURN_IF_ERROR(WithFieldRenamed(checks.Sampling(sampling), {{"sampling_params.stop", "stop_sequences"}}));
  RETURN_IF_ERROR(fields.Read("stream", request.stream));
  return request;
}

}  // namespace quire
