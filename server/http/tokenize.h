// POST /tokenize and /detokenize and GET /tokenizer_info, with the fields that vLLM has there. lm-eval, for one, does
// all its tokenising by them.
#pragma once

#include "server/http/api.h"
#include "server/http/http_exchange.h"

namespace quire {

asio::awaitable<void> Tokenize(const HttpApi& api, HttpExchange& exchange);
asio::awaitable<void> Detokenize(const HttpApi& api, HttpExchange& exchange);
HttpResponse TokenizerInfo(const HttpApi& api);

}  // namespace quire
