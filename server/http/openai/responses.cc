#include "server/http/openai/responses.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/http/answer.h"
#include "server/http/http_errors.h"
#include "server/http/openai/input_item_list.h"
#include "server/http/openai/response_format.h"
#include "server/http/openai/response_request.h"
#include "server/http/request_body.h"
#include "server/http/url.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr absl::string_view kInputItems = "/input_items";

std::string IdOf(const HttpRequest& request) { return request.path.substr(sizeof("/v1/responses/") - 1); }

// Whether a stream of events is asked for, which would have to be kept as well.
bool WantsStream(const HttpRequest& request) {
  const auto fields = SplitQuery(request.query);
  return std::find(fields.begin(), fields.end(), std::pair<std::string, std::string>("stream", "true")) != fields.end();
}

HttpResponse NotFound(const std::string& id) {
  return ErrorResponse(404, absl::StrCat("there is no response \"", id, "\", or no more"));
}

TextJob<Json> ListingOf(std::shared_ptr<const StoredResponse> stored, std::string query) {
  return [stored = std::move(stored), query = std::move(query)]() -> absl::StatusOr<Json> {
    ASSIGN_OR_RETURN(const InputItemsQuery parsed, ParseInputItemsQuery(query));
    ASSIGN_OR_RETURN(Json items, ParseJson(absl::StrCat("[", stored->items.substr(0, stored->input_bytes), "]")));
    return ListInputItems(std::move(items), parsed);
  };
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
  ResponseFormat format(api.model(), *api.responses, *request);
  std::vector<PipelineRequest> requests;
  requests.push_back(std::move(request->generation));
  co_await Answer(exchange, api.pipeline, std::move(requests), request->stream, format);
}

asio::awaitable<void> GetStoredResponse(const HttpApi& api, HttpExchange& exchange) {
  const HttpRequest& request = exchange.request();
  std::string id = IdOf(request);
  const bool input_items = absl::EndsWith(id, kInputItems);
  if (input_items) id.resize(id.size() - kInputItems.size());
  std::shared_ptr<const StoredResponse> stored = api.responses->Find(ResponseKey(request.tenant->name, id));
  HttpResponse response;
  if (stored == nullptr) {
    response = NotFound(id);
  } else if (!input_items) {
    response = WantsStream(request) ? ErrorResponse(InvalidField("stream", "must be false: no events are kept"))
                                    : HttpResponse{.body = stored->response};
  } else {
    TextJob<Json> job = ListingOf(std::move(stored), request.query);
    const absl::StatusOr<Json> list = co_await RunOnTextWorker(exchange, api.pipeline, std::move(job));
    response = list.ok() ? JsonResponse(*list) : ErrorResponse(list.status());
  }
  co_await exchange.Respond(std::move(response));
}

HttpResponse DeleteStoredResponse(const HttpApi& api, const HttpRequest& request) {
  const std::string id = IdOf(request);
  if (!api.responses->Remove(ResponseKey(request.tenant->name, id))) return NotFound(id);
  return JsonResponse({{"id", id}, {"object", "response"}, {"deleted", true}});
}

}  // namespace quire
