// /v1/responses: POST, and GET and DELETE of those that are stored; GET of what they answered.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateResponse(const HttpApi& api, HttpExchange& exchange);
asio::awaitable<void> GetStoredResponse(const HttpApi& api, HttpExchange& exchange);
HttpResponse DeleteStoredResponse(const HttpApi& api, const HttpRequest& request);

}  // namespace quire
