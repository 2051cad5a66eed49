// From a request's body to what an endpoint works with.
#pragma once

#include <utility>

#include "engine/types/status_macros.h"
#include "server/http/api.h"
#include "server/http/http_exchange.h"
#include "server/http/json.h"
#include "server/http/text_job.h"

namespace quire {

// Reading a body this long takes about a millisecond; longer ones are left to the text worker.
inline constexpr size_t kMaxBytesToReadAtOnce = 32 << 10;

// Takes the body and parses it: JSON first, then what `parse` makes of the object.
template <typename Request>
asio::awaitable<absl::StatusOr<Request>> ReadBody(HttpExchange& exchange, const HttpApi& api,
                                                  absl::StatusOr<Request> (*parse)(const Json&, const RequestChecks&)) {
  const size_t bytes = exchange.request().body.text.size();
  TextJob<Request> job = [&api, parse, body = std::move(exchange.request().body)]() -> absl::StatusOr<Request> {
    ASSIGN_OR_RETURN(const Json object, ParseJsonObject(body.text));
    return parse(object, api.checks);
  };
  if (bytes <= kMaxBytesToReadAtOnce) co_return job();
  co_return co_await RunOnTextWorker(exchange, api.pipeline, std::move(job));
}

}  // namespace quire
