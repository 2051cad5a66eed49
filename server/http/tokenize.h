// POST /tokenize and /detokenize, with the fields that vLLM has there.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> Tokenize(const HttpApi& api, HttpExchange& exchange);
asio::awaitable<void> Detokenize(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
