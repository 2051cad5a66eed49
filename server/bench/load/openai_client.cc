#include "server/bench/load/openai_client.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/status.h"

namespace quire {
namespace {

using nlohmann::json;

// The member `key` of `value`, or null where there is no such thing.
const json& Member(const json& value, const char* key) {
  static const json null;
  if (!value.is_object()) return null;
  const auto member = value.find(key);
  return member == value.end() ? null : *member;
}

const json& First(const json& value) {
  static const json null;
  return value.is_array() && !value.empty() ? value.front() : null;
}

std::string Text(const json& value) { return value.is_string() ? value.get<std::string>() : ""; }

int Count(const json& value) {
  if (!value.is_number()) return 0;
  return static_cast<int>(std::clamp(value.get<double>(), 0.0, 1e9));
}

json Parse(std::string_view text) { return json::parse(text, nullptr, /*allow_exceptions=*/false); }

// What a chat's delta brings; servers put what is not the answer itself beside it.
std::string DeltaText(const json& delta) {
  return Text(Member(delta, "content")) + Text(Member(delta, "reasoning_content")) + Text(Member(delta, "reasoning")) +
         Text(Member(Member(First(Member(delta, "tool_calls")), "function"), "arguments"));
}

json Messages(const LoadRequest& request) {
  json messages = json::array();
  for (const Passage& passage : request.passages) {
    const char* const role = messages.size() % 2 == 0 ? "user" : "assistant";
    messages.push_back({{"role", role}, {"content", passage.text}});
  }
  return messages;
}

json Prompt(const LoadRequest& request, PromptForm form) {
  std::string text;
  std::vector<int32_t> token_ids;
  for (const Passage& passage : request.passages) {
    text += passage.text;
    token_ids.insert(token_ids.end(), passage.token_ids.begin(), passage.token_ids.end());
  }
  return form == PromptForm::kTokenIds ? json(token_ids) : json(text);
}

}  // namespace

std::string OpenAiPath(TransportOptions::Endpoint endpoint) {
  return endpoint == TransportOptions::Endpoint::kChat ? "/v1/chat/completions" : "/v1/completions";
}

std::string OpenAiRequestBody(const TransportOptions& options, const std::string& model, const LoadRequest& request) {
  json body = {{"model", model},
               {"temperature", 0},
               {"max_tokens", request.max_tokens},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (options.endpoint == TransportOptions::Endpoint::kChat) {
    body["messages"] = Messages(request);
  } else {
    body["prompt"] = Prompt(request, options.prompt_form);
  }
  // Answers go back as they came; one that a server cut within a character must not end the run.
  return body.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

absl::StatusOr<OpenAiChunk> ParseOpenAiChunk(std::string_view data) {
  const json message = Parse(data);
  if (!message.is_object()) return absl::InvalidArgumentError("a chunk is not a JSON object");
  OpenAiChunk chunk;
  if (const json& error = Member(message, "error"); !error.is_null()) {
    chunk.error = OpenAiErrorMessage(data);
    return chunk;
  }
  const json& choice = First(Member(message, "choices"));
  chunk.text = Text(Member(choice, "text")) + DeltaText(Member(choice, "delta"));
  if (const json& usage = Member(message, "usage"); usage.is_object()) {
    chunk.usage = {Count(Member(usage, "prompt_tokens")),
                   Count(Member(Member(usage, "prompt_tokens_details"), "cached_tokens")),
                   Count(Member(usage, "completion_tokens"))};
  }
  return chunk;
}

std::string OpenAiErrorMessage(std::string_view body) {
  constexpr size_t kMaxShown = 300;
  const json parsed = Parse(body);
  const json& error = Member(parsed, "error");
  std::string message = Text(Member(error, "message"));
  if (message.empty()) message = Text(error);
  if (message.empty()) message = Text(Member(parsed, "message"));
  if (message.empty()) message = std::string(body.substr(0, kMaxShown));
  return message;
}

std::string FirstOpenAiModel(std::string_view body) { return Text(Member(First(Member(Parse(body), "data")), "id")); }

}  // namespace quire
