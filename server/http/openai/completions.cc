#include "server/http/openai/completions.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/answer.h"
#include "server/http/openai/completion_format.h"
#include "server/http/openai/completion_request.h"
#include "server/http/request_body.h"

namespace quire {
namespace {

// Turns the prompts into tokens, and those that are tokens already into text, for answers that repeat them.
absl::StatusOr<std::vector<CompletionPrompt>> WithEcho(const HttpApi& api, std::vector<CompletionPrompt> prompts) {
  for (CompletionPrompt& item : prompts) {
    const std::string* text = std::get_if<std::string>(&item.prompt);
    if (text != nullptr) item.echo = *text;
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens, api.pipeline.MakePromptTokens(item.prompt, item.field));
    if (text == nullptr) {
      ASSIGN_OR_RETURN(item.echo, Decode(*api.model().tokenizer, tokens, /*keep_special=*/true));
    }
    if (!tokens.empty()) item.first_token = tokens.front();
    item.prompt = std::move(tokens);
  }
  return prompts;
}

asio::awaitable<absl::StatusOr<CompletionRequest>> ReadRequest(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<CompletionRequest> request = co_await ReadBody(exchange, api, ParseCompletionRequest);
  if (!request.ok() || !request->echo) co_return request;
  TextJob<std::vector<CompletionPrompt>> job = [&api, given = std::move(request->prompts)]() mutable {
    return WithEcho(api, std::move(given));
  };
  absl::StatusOr<std::vector<CompletionPrompt>> prompts =
      co_await RunOnTextWorker(exchange, api.pipeline, std::move(job));
  if (!prompts.ok()) co_return prompts.status();
  request->prompts = *std::move(prompts);
  co_return request;
}

}  // namespace

asio::awaitable<void> CreateCompletion(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<CompletionRequest> request = co_await ReadRequest(api, exchange);
  if (!request.ok()) {
    co_await AnswerRefused(exchange, api.pipeline, request.status());
    co_return;
  }
  std::vector<PipelineRequest> requests;
  for (CompletionPrompt& item : request->prompts) {
    requests.push_back({std::move(item.prompt), request->generate, request->output_format, item.field});
  }
  CompletionFormat format(api, absl::StrCat("cmpl-", exchange.request().id), *std::move(request));
  co_await Answer(exchange, api.pipeline, std::move(requests), format.stream(), format);
}

}  // namespace quire
