// POST /v1/embeddings.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> CreateEmbeddings(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
