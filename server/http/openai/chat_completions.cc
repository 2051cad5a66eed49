#include "server/http/openai/chat_completions.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/answer.h"
#include "server/http/openai/chat_format.h"
#include "server/http/openai/chat_request.h"
#include "server/http/request_body.h"

namespace quire {

asio::awaitable<void> CreateChatCompletion(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<ChatRequest> request = co_await ReadBody(exchange, api, ParseChatRequest);
  if (!request.ok()) {
    co_await AnswerRefused(exchange, api.pipeline, request.status());
    co_return;
  }
  ChatFormat format(api, absl::StrCat("chatcmpl-", exchange.request().id), *request);
  std::vector<PipelineRequest> requests;
  requests.push_back(std::move(request->generation));
  co_await Answer(exchange, api.pipeline, std::move(requests), request->options.stream, format);
}

}  // namespace quire
