#include "server/http/openai/responses.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/http/answer.h"
#include "server/http/http_errors.h"
#include "server/http/openai/response_format.h"
#include "server/http/openai/response_request.h"
#include "server/http/request_body.h"

namespace quire {
namespace {

std::string IdOf(const HttpRequest& request) { return request.path.substr(sizeof("/v1/responses/") - 1); }
std::string KeyOf(const HttpRequest& request) { return ResponseKey(request.tenant->name, IdOf(request)); }

HttpResponse NotFound(const std::string& id) {
  return ErrorResponse(404, absl::StrCat("there is no response \"", id, "\", or no more"));
}

asio::awaitable<absl::StatusOr<ResponseRequest>> ReadRequest(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<ResponseRequest> request = co_await ReadBody(exchange, api, ParseResponseRequest);
  if (request.ok()) request->tenant = exchange.request().tenant->name;
  if (!request.ok() || request->previous_response_id.empty()) co_return request;
  TextJob<ResponseRequest> job = [&api, given = *std::move(request)]() mutable {
    return WithHistory(std::move(given), *api.responses, api.checks);
  };
  co_return co_await RunOnTextWorker(exchange, api.pipeline, std::move(job));
}

}  // namespace

asio::awaitable<void> CreateResponse(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<ResponseRequest> request = co_await ReadRequest(api, exchange);
  if (!request.ok()) {
    co_await AnswerRefused(exchange, api.pipeline, request.status());
    co_return;
  }
  ResponseFormat format(api.model().name, *api.responses, *request);
  std::vector<PipelineRequest> requests;
  requests.push_back(std::move(request->generation));
  co_await Answer(exchange, api.pipeline, std::move(requests), request->stream, format);
}

HttpResponse GetStoredResponse(const HttpApi& api, const HttpRequest& request) {
  const std::shared_ptr<const StoredResponse> stored = api.responses->Find(KeyOf(request));
  return stored == nullptr ? NotFound(IdOf(request)) : HttpResponse{.body = stored->response};
}

HttpResponse DeleteStoredResponse(const HttpApi& api, const HttpRequest& request) {
  const std::string id = IdOf(request);
  if (!api.responses->Remove(KeyOf(request))) return NotFound(id);
  return JsonResponse({{"id", id}, {"object", "response"}, {"deleted", true}});
}

}  // namespace quire
