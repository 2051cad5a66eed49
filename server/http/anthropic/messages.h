// POST /v1/messages and /v1/messages/count_tokens, as Anthropic's API has them.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateMessage(const HttpApi& api, HttpExchange& exchange);
asio::awaitable<void> CountMessageTokens(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
