#include "server/grpc/request_parser.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"
#include "server/tools/apply_tools.h"

namespace quire {
namespace {

std::span<const TokenId> ToSpan(const google::protobuf::RepeatedField<int32_t>& ids) {
  return {ids.data(), static_cast<size_t>(ids.size())};
}

// For an optional count, of which 0 or less must not be taken for "absent".
absl::Status CheckAtLeast(int minimum, const char* field, int value) {
  if (value >= minimum) return absl::OkStatus();
  return InvalidField(absl::StrCat("sampling_params.", field),
                      absl::StrCat("must be at least ", minimum, " where it is set, got ", value));
}

// The JSON in a field.
absl::StatusOr<Json> ParseField(const std::string& field, const std::string& text) {
  absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) return InvalidField(field, std::string(json.status().message()));
  return json;
}

Json MessageJson(const v1::ChatMessage& message) {
  Json json = TextMessage(message.role(), message.content());
  if (!message.name().empty()) json["name"] = message.name();
  if (!message.tool_call_id().empty()) json["tool_call_id"] = message.tool_call_id();
  if (!message.reasoning_content().empty()) json["reasoning_content"] = message.reasoning_content();
  for (const v1::ToolCall& call : message.tool_calls()) {
    json["tool_calls"].push_back(FunctionCall(call.id(), call.name(), call.arguments()));
  }
  return json;
}

absl::StatusOr<Conversation> ParseConversation(const v1::ChatRequest& request) {
  Conversation conversation;
  for (int i = 0; i < request.messages_size(); ++i) {
    if (request.messages(i).role().empty()) {
      return InvalidField(absl::StrCat("messages[", i, "].role"),
                          "must be set, as \"system\", \"user\" or \"assistant\"");
    }
    conversation.messages.push_back(MessageJson(request.messages(i)));
  }
  if (!request.chat_template_kwargs().empty()) {
    ASSIGN_OR_RETURN(conversation.variables, ParseField("chat_template_kwargs", request.chat_template_kwargs()));
    if (!conversation.variables.is_object()) return InvalidField("chat_template_kwargs", "must be a JSON object");
  }
  conversation.continue_final_message = request.continue_final_message();
  conversation.add_generation_prompt = !request.continue_final_message();
  return conversation;
}

absl::StatusOr<Json> ParseTools(const v1::ChatRequest& request) {
  Json tools = Json::array();
  for (int i = 0; i < request.tools_size(); ++i) {
    ASSIGN_OR_RETURN(Json tool, ParseField(absl::StrCat("tools[", i, "]"), request.tools(i)));
    tools.push_back(std::move(tool));
  }
  return tools;
}

// In OpenAI's form.
Json ToolChoiceJson(const std::string& choice) {
  if (choice.empty()) return nullptr;
  if (choice == "auto" || choice == "none" || choice == "required") return choice;
  return {{"type", "function"}, {"function", {{"name", choice}}}};
}

absl::StatusOr<OutputFormat> ParseOutputFormat(const v1::OutputFormat& proto) {
  using Kind = OutputFormat::Kind;
  const std::string field = "sampling_params.output_format";
  switch (proto.format_case()) {
    case v1::OutputFormat::kJsonObject:
      return OutputFormat{.kind = Kind::kJsonObject, .field = field + ".json_object"};
    case v1::OutputFormat::kJsonSchema:
      return OutputFormat{.kind = Kind::kJsonSchema, .source = proto.json_schema(), .field = field + ".json_schema"};
    case v1::OutputFormat::kRegex:
      return OutputFormat{.kind = Kind::kRegex, .source = proto.regex(), .field = field + ".regex"};
    case v1::OutputFormat::kGrammar:
      return OutputFormat{.kind = Kind::kGrammar, .source = proto.grammar(), .field = field + ".grammar"};
    case v1::OutputFormat::kChoice:
      return OutputFormat{.kind = Kind::kChoice,
                          .choices = {proto.choice().choices().begin(), proto.choice().choices().end()},
                          .field = field + ".choice.choices"};
    case v1::OutputFormat::kStructuralTag:
      return OutputFormat{
          .kind = Kind::kStructuralTag, .source = proto.structural_tag(), .field = field + ".structural_tag"};
    case v1::OutputFormat::FORMAT_NOT_SET:
      break;
  }
  return InvalidField(field,
                      "must have one of json_object, json_schema, regex, grammar, choice and structural_tag set");
}

}  // namespace

absl::StatusOr<PipelineRequest> RequestParser::Parse(const v1::GenerateRequest& request) const {
  RETURN_IF_ERROR(checks_.Model(request.model()));
  PipelineRequest result;
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText:
      RETURN_IF_ERROR(checks_.PromptBytes("text", request.text().size()));
      result.prompt = request.text();
      break;
    case v1::GenerateRequest::kTokenIds:
      if (request.token_ids().ids().empty()) return InvalidField("token_ids.ids", "must not be empty");
      RETURN_IF_ERROR(checks_.TokenIds("token_ids.ids", ToSpan(request.token_ids().ids())));
      result.prompt = std::vector<TokenId>(request.token_ids().ids().begin(), request.token_ids().ids().end());
      break;
    case v1::GenerateRequest::PROMPT_NOT_SET:
      return InvalidField("prompt", "must be set: either text or token_ids");
  }
  RETURN_IF_ERROR(ParseCommon(request.sampling_params(), request.priority(), &result));
  result.session_id = request.session_id();
  return result;
}

absl::StatusOr<PipelineRequest> RequestParser::Parse(const v1::ChatRequest& request) const {
  RETURN_IF_ERROR(checks_.Model(request.model()));
  if (request.messages().empty()) return InvalidField("messages", "must not be empty");
  PipelineRequest result;
  ASSIGN_OR_RETURN(Conversation conversation, ParseConversation(request));
  RETURN_IF_ERROR(checks_.PromptBytes("messages", TextBytes(conversation)));
  result.prompt = std::move(conversation);
  RETURN_IF_ERROR(ParseCommon(request.sampling_params(), request.priority(), &result));
  result.session_id = request.session_id();
  ASSIGN_OR_RETURN(const Json tools, ParseTools(request));
  const bool parallel = !request.has_parallel_tool_calls() || request.parallel_tool_calls();
  RETURN_IF_ERROR(ApplyTools(tools, ToolChoiceJson(request.tool_choice()), parallel, checks_.model(), result));
  return result;
}

absl::Status RequestParser::Check(const v1::TokenizeRequest& request) const {
  RETURN_IF_ERROR(checks_.Model(request.model()));
  return checks_.TextToTokenize("text", request.text());
}

absl::Status RequestParser::Check(const v1::DetokenizeRequest& request) const {
  RETURN_IF_ERROR(checks_.Model(request.model()));
  return checks_.TokensToDetokenize("token_ids", ToSpan(request.token_ids()));
}

absl::Status RequestParser::ParseCommon(const v1::SamplingParams& sampling, int priority,
                                        PipelineRequest* result) const {
  ASSIGN_OR_RETURN(result->generate.sampling, ParseSampling(sampling));
  result->generate.priority = priority;
  if (sampling.has_output_format()) {
    ASSIGN_OR_RETURN(result->output_format, ParseOutputFormat(sampling.output_format()));
  }
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> RequestParser::ParseSampling(const v1::SamplingParams& proto) const {
  SamplingParams params;
  if (proto.has_temperature()) params.temperature = proto.temperature();
  if (proto.has_top_p()) params.top_p = proto.top_p();
  if (proto.has_top_k()) params.top_k = proto.top_k() == -1 ? 0 : proto.top_k();
  if (proto.has_min_p()) params.min_p = proto.min_p();
  if (proto.has_repetition_penalty()) params.repetition_penalty = proto.repetition_penalty();
  if (proto.has_presence_penalty()) params.presence_penalty = proto.presence_penalty();
  if (proto.has_frequency_penalty()) params.frequency_penalty = proto.frequency_penalty();
  params.seed = proto.has_seed() ? proto.seed() : DrawSeed();
  if (proto.has_max_tokens()) {
    RETURN_IF_ERROR(CheckAtLeast(1, "max_tokens", proto.max_tokens()));
    params.max_tokens = proto.max_tokens();
  }
  if (proto.has_min_tokens()) params.min_tokens = proto.min_tokens();
  params.stop.assign(proto.stop().begin(), proto.stop().end());
  params.stop_token_ids.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  params.ignore_eos = proto.ignore_eos();
  if (proto.has_n()) params.n = proto.n();
  params.logit_bias.assign(proto.logit_bias().begin(), proto.logit_bias().end());
  // A map has no order, and sums of floats do: the same request must give the same logits.
  std::sort(params.logit_bias.begin(), params.logit_bias.end());
  if (proto.has_logprobs()) {
    RETURN_IF_ERROR(CheckAtLeast(0, "logprobs", proto.logprobs()));
    params.logprobs = proto.logprobs();
  }
  if (proto.has_prompt_logprobs()) {
    RETURN_IF_ERROR(CheckAtLeast(0, "prompt_logprobs", proto.prompt_logprobs()));
    params.prompt_logprobs = proto.prompt_logprobs();
  }
  RETURN_IF_ERROR(checks_.Sampling(params));
  return params;
}

}  // namespace quire
