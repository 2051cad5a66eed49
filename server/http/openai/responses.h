// /v1/responses: POST, and GET and DELETE of those that are stored.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateResponse(const HttpApi& api, HttpExchange& exchange);
HttpResponse GetStoredResponse(const HttpApi& api, const HttpRequest& request);
HttpResponse DeleteStoredResponse(const HttpApi& api, const HttpRequest& request);

}  // namespace quire
