// POST /v1/chat/completions.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateChatCompletion(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
