// Answers that are made from text alone, without the engine.
#pragma once

#include <utility>

#include "engine/types/status_macros.h"
#include "server/http/api.h"
#include "server/http/http_errors.h"
#include "server/http/http_exchange.h"
#include "server/http/json.h"
#include "server/http/text_job.h"

namespace quire {

// Reads the body and does the work with it on the text worker.
template <typename Request>
asio::awaitable<void> AnswerByText(const HttpApi& api, HttpExchange& exchange,
                                   absl::StatusOr<Request> (*parse)(const HttpApi&, const Json&),
                                   absl::StatusOr<Json> (*run)(const HttpApi&, const Request&)) {
  TextJob<Json> job = [&api, parse, run, body = std::move(exchange.request().body)]() -> absl::StatusOr<Json> {
    ASSIGN_OR_RETURN(const Json object, ParseJsonObject(body.text));
    ASSIGN_OR_RETURN(const Request request, parse(api, object));
    return run(api, request);
  };
  const absl::StatusOr<Json> answer = co_await RunOnTextWorker(exchange, api.pipeline, std::move(job));
  HttpResponse response =
      answer.ok() ? JsonResponse(*answer) : ErrorResponse(answer.status(), ErrorFormOf(exchange.request()));
  co_await exchange.Respond(std::move(response));
}

}  // namespace quire
