// GET /v1/models and /v1/models/{id}.
#pragma once

#include "server/http/api.h"
#include "server/http/http_message.h"

namespace quire {

HttpResponse ListModels(const HttpApi& api);
HttpResponse GetModel(const HttpApi& api, const HttpRequest& request);

}  // namespace quire
