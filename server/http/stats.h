// GET /quire/stats: the engine's counters, for the page at /.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

// A snapshot between two steps, its names those of quire.v1.Stats, and each tenant's usage.
asio::awaitable<void> GetStats(const HttpApi& api, HttpExchange& exchange);

}  // namespace quire
