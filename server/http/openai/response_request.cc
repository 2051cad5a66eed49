#include "server/http/openai/response_request.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/field_names.h"
#include "server/http/flat_tools.h"
#include "server/http/openai/output_format_fields.h"
#include "server/http/openai/request_fields.h"
#include "server/http/openai/response_items.h"
#include "server/request_origin.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr FlatToolNames kToolNames = {.type = "function", .schema = "parameters"};
constexpr size_t kMaxMetadata = 16;
constexpr int kMaxTopLogprobs = 20;
constexpr char kLogprobs[] = "message.output_text.logprobs";
// Parts of items that this server's answers and inputs do not have.
constexpr std::string_view kNeverIncluded[] = {
    "web_search_call.action.sources", "web_search_call.results",
    "code_interpreter_call.outputs",  "computer_call_output.output.image_url",
    "file_search_call.results",       "message.input_image.image_url",
    "reasoning.encrypted_content"};
// Of what an answer repeats, which is kept until it ends.
constexpr size_t kMaxSettingsBytes = 512 << 10;

// In the form of chat completions.
absl::StatusOr<Json> ReadToolChoice(const JsonFields& fields) {
  const Json* json = fields.Find("tool_choice");
  if (json == nullptr || !json->is_object()) return json == nullptr ? Json() : *json;
  const JsonFields choice(*json, "tool_choice");
  std::string type, name;
  RETURN_IF_ERROR(choice.ReadRequired("type", type));
  if (type != "function")
    return InvalidField(choice.Path("type"), absl::StrCat("must be \"function\", got \"", type, "\""));
  RETURN_IF_ERROR(choice.ReadRequired("name", name));
  return NamedToolChoice(name);
}

absl::Status ReadTools(const JsonFields& fields, const ServedModel& model, PipelineRequest& generation) {
  bool parallel = true;
  RETURN_IF_ERROR(fields.Read("parallel_tool_calls", parallel));
  ASSIGN_OR_RETURN(const Json tools, ReadFlatTools(fields, kToolNames));
  ASSIGN_OR_RETURN(const Json choice, ReadToolChoice(fields));
  return ApplyFlatTools(tools, choice, parallel, kToolNames, model, generation);
}

absl::Status ReadLogprobs(const JsonFields& fields, ResponseRequest& request) {
  std::vector<std::string> include;
  int top = 0;
  RETURN_IF_ERROR(fields.Read("include", include));
  RETURN_IF_ERROR(ReadInclude(include, "include", request.logprobs));
  RETURN_IF_ERROR(fields.Read("top_logprobs", top));
  if (top < 0 || top > kMaxTopLogprobs) {
    return InvalidField("top_logprobs", absl::StrCat("must be in [0, ", kMaxTopLogprobs, "], got ", top));
  }
  if (request.logprobs) request.generation.generate.sampling.logprobs = top;
  return absl::OkStatus();
}

absl::Status ReadFormat(const JsonFields& fields, OutputFormat& format) {
  std::optional<JsonFields> text;
  RETURN_IF_ERROR(fields.ReadObject("text", text));
  return text.has_value() ? ReadFlatOutputFormat(*text, "format", format) : absl::OkStatus();
}

absl::Status ReadSampling(const JsonFields& fields, const RequestChecks& checks, SamplingParams& sampling) {
  RETURN_IF_ERROR(ReadSamplingOfOne(fields, sampling));
  std::optional<int> max_tokens;
  RETURN_IF_ERROR(fields.Read("max_output_tokens", max_tokens));
  if (max_tokens.has_value() && *max_tokens < 1) {
    return InvalidField("max_output_tokens", absl::StrCat("must be at least 1, got ", *max_tokens));
  }
  sampling.max_tokens = max_tokens.value_or(sampling.max_tokens);
  return WithFieldRenamed(checks.Sampling(sampling), {{"sampling_params.max_tokens", "max_output_tokens"}});
}

absl::Status CheckMetadata(const JsonFields& fields) {
  const Json* json = fields.Find("metadata");
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_object()) return WrongType(*json, "metadata", "an object");
  if (json->size() > kMaxMetadata) {
    return InvalidField("metadata", absl::StrCat("must have at most ", kMaxMetadata, " entries, got ", json->size()));
  }
  for (const auto& [key, value] : json->items()) {
    if (!value.is_string()) return WrongType(value, absl::StrCat("metadata.", key), "a string");
  }
  return absl::OkStatus();
}

// What would be misleading to ignore.
absl::Status RefuseUnsupported(const JsonFields& fields) {
  bool background = false;
  RETURN_IF_ERROR(fields.Read("background", background));
  if (background)
    return InvalidField("background", "must be false: a response ends with the connection that asks for it");
  for (const char* name : {"conversation", "prompt"}) {
    if (fields.Find(name) != nullptr) {
      return InvalidField(name, "must not be set: this server keeps responses, and nothing else");
    }
  }
  return absl::OkStatus();
}

// The fields that an answer repeats, as they came or by their defaults.
absl::StatusOr<Json> ReadSettings(const JsonFields& fields) {
  for (const char* name : {"truncation", "user"}) {
    std::optional<std::string> text;
    RETURN_IF_ERROR(fields.Read(name, text));
  }
  const Json text = {{"format", {{"type", "text"}}}};
  Json settings = Json::object();
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, Json>>{
           {"instructions", nullptr},
           {"max_output_tokens", nullptr},
           {"metadata", Json::object()},
           {"parallel_tool_calls", true},
           {"previous_response_id", nullptr},
           {"store", true},
           {"temperature", 1.0},
           {"text", text},
           {"tool_choice", "auto"},
           {"tools", Json::array()},
           {"top_logprobs", 0},
           {"top_p", 1.0},
           {"truncation", "disabled"},
           {"user", nullptr},
       }) {
    const Json* given = fields.Find(name);
    settings[name] = given == nullptr ? value : *given;
  }
  if (const size_t bytes = ToText(settings).size(); bytes > kMaxSettingsBytes) {
    return absl::InvalidArgumentError(absl::StrCat("instructions, tools, text and metadata must be at most ",
                                                   kMaxSettingsBytes, " bytes long in all, got ", bytes));
  }
  return settings;
}

}  // namespace

absl::Status ReadInclude(const std::vector<std::string>& include, const std::string& path, bool& logprobs) {
  for (size_t i = 0; i < include.size(); ++i) {
    if (include[i] == kLogprobs)
      logprobs = true;
    else if (std::find(std::begin(kNeverIncluded), std::end(kNeverIncluded), include[i]) == std::end(kNeverIncluded)) {
      return InvalidField(absl::StrCat(path, "[", i, "]"),
                          absl::StrCat("must be \"", kLogprobs,
                                       "\", all else that this server has is told anyway, got \"", include[i], "\""));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ResponseRequest> ParseResponseRequest(const Json& body, const RequestChecks& checks) {
  const JsonFields fields(body);
  ResponseRequest request;
  PipelineRequest& generation = request.generation;
  RETURN_IF_ERROR(ReadModel(fields, checks));
  RETURN_IF_ERROR(RefuseUnsupported(fields));
  RETURN_IF_ERROR(CheckMetadata(fields));
  RETURN_IF_ERROR(fields.Read("stream", request.stream));
  RETURN_IF_ERROR(fields.Read("store", request.store));
  RETURN_IF_ERROR(fields.Read("previous_response_id", request.previous_response_id));
  std::optional<std::string> instructions;
  RETURN_IF_ERROR(fields.Read("instructions", instructions));
  ASSIGN_OR_RETURN(Json messages, ReadResponseInput(fields));
  if (request.store) request.items = ElementsText(InputItems(*fields.Find("input"), RequestIdFor("")));
  Conversation conversation;
  if (instructions.has_value()) conversation.messages.push_back(TextMessage("system", *std::move(instructions)));
  for (Json& message : messages) conversation.messages.push_back(std::move(message));
  RETURN_IF_ERROR(checks.PromptBytes("input", TextBytes(conversation)));
  generation.prompt = std::move(conversation);
  generation.prompt_field = "input";
  RETURN_IF_ERROR(ReadLogprobs(fields, request));
  RETURN_IF_ERROR(ReadSampling(fields, checks, generation.generate.sampling));
  RETURN_IF_ERROR(ReadFormat(fields, generation.output_format));
  RETURN_IF_ERROR(ReadTools(fields, checks.model(), generation));
  ASSIGN_OR_RETURN(request.settings, ReadSettings(fields));
  return request;
}

absl::StatusOr<ResponseRequest> WithHistory(ResponseRequest request, ResponseStore& store,
                                            const RequestChecks& checks) {
  const std::shared_ptr<const StoredResponse> previous =
      store.Find(ResponseKey(request.tenant, request.previous_response_id));
  if (previous == nullptr) {
    return WithReason(InvalidField("previous_response_id", "must be of a response that this server still has"),
                      "PREVIOUS_RESPONSE_NOT_FOUND");
  }
  ASSIGN_OR_RETURN(const Json items, ParseJson(absl::StrCat("[", previous->items, "]")));
  ASSIGN_OR_RETURN(Json history, MessagesOfItems(items, "previous_response_id"));
  auto& conversation = std::get<Conversation>(request.generation.prompt);
  Json messages = Json::array();
  const bool instructed = !request.settings["instructions"].is_null();
  if (instructed) messages.push_back(conversation.messages.front());
  for (Json& message : history) messages.push_back(std::move(message));
  for (size_t i = instructed ? 1 : 0; i < conversation.messages.size(); ++i) {
    messages.push_back(std::move(conversation.messages[i]));
  }
  conversation.messages = std::move(messages);
  RETURN_IF_ERROR(checks.PromptBytes("previous_response_id", TextBytes(conversation)));
  if (request.store) request.items = absl::StrCat(previous->items, ",", request.items);
  return request;
}

}  // namespace quire
