// All that the HTTP server answers to.
#pragma once

#include "server/http/http_exchange.h"
#include "server/serving_pipeline.h"

namespace quire {

// For HttpServer. `pipeline` outlives it.
HttpHandler MakeHttpHandler(ServingPipeline& pipeline);

}  // namespace quire
