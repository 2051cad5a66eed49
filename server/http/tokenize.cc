#include "server/http/tokenize.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/types/status_macros.h"
#include "server/http/json_fields.h"
#include "server/http/openai/chat_messages.h"
#include "server/http/openai/logprobs_json.h"
#include "server/http/openai/request_fields.h"
#include "server/http/text_answer.h"
#include "server/status_details.h"

namespace quire {
namespace {

struct TokenizeRequest {
  Prompt prompt;  // Text, or messages.
  bool add_special_tokens = true;
  bool return_token_strs = false;
};

absl::StatusOr<TokenizeRequest> ParseTokenize(const HttpApi& api, const Json& body) {
  const JsonFields fields(body);
  RETURN_IF_ERROR(ReadModel(fields, api.checks));
  TokenizeRequest request;
  RETURN_IF_ERROR(fields.Read("add_special_tokens", request.add_special_tokens));
  RETURN_IF_ERROR(fields.Read("return_token_strs", request.return_token_strs));
  if (fields.Find("messages") != nullptr) {
    ASSIGN_OR_RETURN(request.prompt, ReadConversation(fields, api.checks));
    return request;
  }
  if (fields.Find("prompt") == nullptr) return InvalidField("prompt", "must be set, or messages");
  std::string text;
  RETURN_IF_ERROR(fields.Read("prompt", text));
  RETURN_IF_ERROR(api.checks.TextToTokenize("prompt", text));
  request.prompt = std::move(text);
  return request;
}

absl::StatusOr<Json> RunTokenize(const HttpApi& api, const TokenizeRequest& request) {
  const Tokenizer& tokenizer = *api.model().tokenizer;
  std::vector<TokenId> tokens;
  if (const auto* text = std::get_if<std::string>(&request.prompt)) {
    ASSIGN_OR_RETURN(tokens,
                     tokenizer.Encode(*text, {.add_special = request.add_special_tokens, .parse_special = true}));
  } else {
    ASSIGN_OR_RETURN(tokens, api.pipeline.MakePromptTokens(request.prompt, "messages"));
  }
  Json strings;  // Null unless asked for.
  if (request.return_token_strs) {
    strings = Json::array();
    for (const TokenId token : tokens) strings.push_back(TokenName(tokenizer, token));
  }
  return Json{{"count", tokens.size()},
              {"max_model_len", api.model().max_model_len},
              {"tokens", tokens},
              {"token_strs", std::move(strings)}};
}

absl::StatusOr<std::vector<TokenId>> ParseDetokenize(const HttpApi& api, const Json& body) {
  const JsonFields fields(body);
  RETURN_IF_ERROR(ReadModel(fields, api.checks));
  if (fields.Find("tokens") == nullptr) return InvalidField("tokens", "must be set");
  std::vector<TokenId> tokens;
  RETURN_IF_ERROR(fields.Read("tokens", tokens));
  RETURN_IF_ERROR(api.checks.TokensToDetokenize("tokens", tokens));
  return tokens;
}

}  // namespace

asio::awaitable<void> Tokenize(const HttpApi& api, HttpExchange& exchange) {
  return AnswerByText<TokenizeRequest>(api, exchange, ParseTokenize, RunTokenize);
}

asio::awaitable<void> Detokenize(const HttpApi& api, HttpExchange& exchange) {
  return AnswerByText<std::vector<TokenId>>(
      api, exchange, ParseDetokenize,
      [](const HttpApi& the_api, const std::vector<TokenId>& tokens) -> absl::StatusOr<Json> {
        ASSIGN_OR_RETURN(std::string text, Decode(*the_api.model().tokenizer, tokens, /*keep_special=*/true));
        return Json{{"prompt", std::move(text)}};
      });
}

HttpResponse TokenizerInfo(const HttpApi& api) {
  const Tokenizer& tokenizer = *api.model().tokenizer;
  const auto name = [&tokenizer](TokenId token) { return token < 0 ? Json() : Json(TokenName(tokenizer, token)); };
  return JsonResponse({{"bos_token", name(tokenizer.bos())},
                       {"eos_token", name(tokenizer.eos())},
                       {"pad_token", nullptr},
                       {"model_max_length", api.model().max_model_len}});
}

}  // namespace quire
