#include "server/http/openai/embeddings.h"

#include <string>
#include <utility>
#include <vector>

#include "server/http/answer.h"
#include "server/http/http_errors.h"
#include "server/http/openai/embedding_format.h"
#include "server/http/openai/embedding_request.h"
#include "server/http/request_body.h"

namespace quire {

asio::awaitable<void> CreateEmbeddings(const HttpApi& api, HttpExchange& exchange) {
  absl::StatusOr<EmbeddingRequest> request = co_await ReadBody(exchange, api, ParseEmbeddingRequest);
  if (!request.ok()) {
    HttpResponse error = ErrorResponse(request.status());
    co_await exchange.Respond(std::move(error));
    co_return;
  }
  std::vector<PipelineRequest> requests;
  for (NamedPrompt& named : request->prompts) {
    PipelineRequest& one = requests.emplace_back();
    one.prompt = std::move(named.prompt);
    one.prompt_field = std::move(named.field);
    one.generate.embed = true;
    one.generate.priority = request->priority;
  }
  EmbeddingFormat format(api.model().name, request->options, requests.size());
  co_await Answer(exchange, api.pipeline, std::move(requests), /*stream=*/false, format);
}

}  // namespace quire
