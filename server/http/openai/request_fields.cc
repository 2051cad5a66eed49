#include "server/http/openai/request_fields.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

// One string, or a list of them.
absl::Status ReadStop(const JsonFields& fields, std::vector<std::string>& stop) {
  const Json* json = fields.Find("stop");
  if (json == nullptr || !json->is_string()) return fields.Read("stop", stop);
  return FromJson(*json, "stop", stop.emplace_back());
}

absl::Status ReadLogitBias(const JsonFields& fields, std::vector<std::pair<TokenId, float>>& biases) {
  const Json* json = fields.Find("logit_bias");
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_object()) return WrongType(*json, "logit_bias", "an object");
  for (const auto& [key, value] : json->items()) {
    TokenId token = 0;
    if (!absl::SimpleAtoi(key, &token)) return InvalidField("logit_bias", "must have token ids as its keys");
    float bias = 0;
    RETURN_IF_ERROR(FromJson(value, absl::StrCat("logit_bias[", token, "]"), bias));
    biases.emplace_back(token, bias);
  }
  // The same request must give the same logits, in whatever order it names tokens.
  std::sort(biases.begin(), biases.end());
  return absl::OkStatus();
}

// What others do, and an answer without it would be taken for one with it.
absl::Status RefuseUnserved(const JsonFields& fields) {
  for (const char* name :
       {"functions", "use_beam_search", "bad_words", "allowed_token_ids", "include_stop_str_in_output",
        "truncate_prompt_tokens", "prompt_logprobs", "chat_template"}) {
    const Json* json = fields.Find(name);
    const bool asks = json != nullptr && *json != false && *json != "" && !(json->is_structured() && json->empty());
    if (asks) return InvalidField(name, "must be left out: this server does not know it");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadModel(const JsonFields& fields, const RequestChecks& checks) {
  std::string model;
  RETURN_IF_ERROR(fields.Read("model", model));
  return checks.Model(model);
}

absl::Status ReadAnswerOptions(const JsonFields& fields, AnswerOptions& options) {
  RETURN_IF_ERROR(fields.Read("stream", options.stream));
  std::optional<JsonFields> stream_options;
  RETURN_IF_ERROR(fields.ReadObject("stream_options", stream_options));
  if (!stream_options.has_value()) return absl::OkStatus();
  if (!options.stream) return InvalidField("stream_options", "must not be set unless stream is true");
  return stream_options->Read("include_usage", options.include_usage);
}

absl::Status ReadSampling(const JsonFields& fields, SamplingParams& params) {
  RETURN_IF_ERROR(RefuseUnserved(fields));
  RETURN_IF_ERROR(fields.Read("temperature", params.temperature));
  RETURN_IF_ERROR(fields.Read("top_p", params.top_p));
  RETURN_IF_ERROR(fields.Read("top_k", params.top_k));
  if (params.top_k == -1) params.top_k = 0;
  RETURN_IF_ERROR(fields.Read("min_p", params.min_p));
  RETURN_IF_ERROR(fields.Read("repetition_penalty", params.repetition_penalty));
  RETURN_IF_ERROR(fields.Read("presence_penalty", params.presence_penalty));
  RETURN_IF_ERROR(fields.Read("frequency_penalty", params.frequency_penalty));
  std::optional<int64_t> seed;
  RETURN_IF_ERROR(fields.Read("seed", seed));
  params.seed = seed.has_value() ? static_cast<uint64_t>(*seed) : DrawSeed();
  RETURN_IF_ERROR(fields.Read("min_tokens", params.min_tokens));
  RETURN_IF_ERROR(ReadStop(fields, params.stop));
  RETURN_IF_ERROR(fields.Read("stop_token_ids", params.stop_token_ids));
  RETURN_IF_ERROR(fields.Read("ignore_eos", params.ignore_eos));
  RETURN_IF_ERROR(fields.Read("n", params.n));
  return ReadLogitBias(fields, params.logit_bias);
}

absl::Status ReadSamplingOfOne(const JsonFields& fields, SamplingParams& params) {
  RETURN_IF_ERROR(ReadSampling(fields, params));
  if (params.n != 1) return InvalidField("n", absl::StrCat("must be 1: there is one answer, got ", params.n));
  return absl::OkStatus();
}

}  // namespace quire
