// POST /v1/completions.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateCompletion(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
