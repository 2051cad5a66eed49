#include "server/http/anthropic/messages.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/answer.h"
#include "server/http/anthropic/message_format.h"
#include "server/http/anthropic/message_request.h"
#include "server/http/request_body.h"
#include "server/http/text_answer.h"

namespace quire {

asio::awaitable<void> CreateMessage(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<MessageRequest> request = co_await ReadBody(exchange, api, ParseMessageRequest);
  if (!request.ok()) {
    co_await AnswerRefused(exchange, api.pipeline, request.status());
    co_return;
  }
  MessageFormat format(absl::StrCat("msg_", exchange.request().id), api.model().name);
  std::vector<PipelineRequest> requests;
  requests.push_back(std::move(request->generation));
  co_await Answer(exchange, api.pipeline, std::move(requests), request->stream, format);
}

asio::awaitable<void> CountMessageTokens(const HttpApi& api, HttpExchange& exchange) {
  return AnswerByText<PipelineRequest>(
      api, exchange,
      [](const HttpApi& the_api, const Json& body) { return ParseCountTokensRequest(body, the_api.checks); },
      [](const HttpApi& the_api, const PipelineRequest& request) -> absl::StatusOr<Json> {
        ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                         the_api.pipeline.MakePromptTokens(request.prompt, "messages"));
        return Json{{"input_tokens", tokens.size()}};
      });
}

}  // namespace quire
