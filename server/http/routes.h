// All that the HTTP server answers to.
#pragma once

#include "server/http/http_exchange.h"
#include "server/serving_pipeline.h"

namespace quire {

// For HttpServer. `pipeline` outlives it.
HttpHandler MakeHttpHandler(ServingPipeline& pipeline);
// Puts the server's own refusals beside those of handlers, in metrics and in the request log.
HttpRefusalObserver NoteHttpRefusals(ServingPipeline& pipeline);

}  // namespace quire
