#include "server/http/openai/answer_parts.h"

namespace quire {

Json AnswerHead(const HttpApi& api, const std::string& id, const char* object) {
  return {{"id", id}, {"object", object}, {"created", absl::ToUnixSeconds(absl::Now())}, {"model", api.model().name}};
}

Json CachedTokensJson(const Usage& usage) {
  Json tokens = {{"cached_tokens", usage.cached_tokens}};
  if (usage.cached_tokens_host > 0) tokens["cached_tokens_host"] = usage.cached_tokens_host;
  if (usage.cached_tokens_disk > 0) tokens["cached_tokens_disk"] = usage.cached_tokens_disk;
  return tokens;
}

Json UsageJson(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", CachedTokensJson(usage)}};
}

Json FinishReasonJson(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return nullptr;
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return nullptr;
}

Json FinishReasonJson(const ResponseDelta& delta) {
  return delta.ends_with_calls ? Json("tool_calls") : FinishReasonJson(delta.output.finish_reason);
}

}  // namespace quire
