#include "server/http/routes.h"

#include <memory>
#include <string_view>
#include <utility>

#include "server/http/answer.h"
#include "server/http/anthropic/messages.h"
#include "server/http/api.h"
#include "server/http/http_errors.h"
#include "server/http/json.h"
#include "server/http/openai/chat_completions.h"
#include "server/http/openai/completions.h"
#include "server/http/openai/embeddings.h"
#include "server/http/openai/models.h"
#include "server/http/openai/responses.h"
#include "server/http/router.h"
#include "server/http/stats.h"
#include "server/http/tokenize.h"
#include "server/http/web_page.h"
#include "server/tenants/tenant_metrics.h"
#include "server/version.h"

namespace quire {
namespace {

HttpResponse Health(const HttpApi& api) {
  const bool admitting = api.pipeline.admitting();
  HttpResponse response = JsonResponse({{"status", admitting ? "ok" : "draining"}});
  response.status = admitting ? 200 : 503;
  return response;
}

HttpResponse GetMetrics(const HttpApi& api) {
  std::string metrics = api.pipeline.metrics().Render();
  if (api.pipeline.tenants().has_several()) metrics += RenderTenantMetrics(api.pipeline.tenant_usage());
  return {.body = std::move(metrics), .content_type = Metrics::kContentType};
}

// What anybody may ask, so that probes need no key.
bool IsOpen(std::string_view path) { return path == "/health" || path == "/version"; }

// Everything that is not listed here is for any tenant.
Access AccessOf(std::string_view path) {
  return path == "/metrics" || path == "/quire/stats" ? Access::kEverybody : Access::kOwn;
}

absl::StatusOr<TenantPtr> IdentifyCaller(const TenantDirectory& tenants, const HttpRequest& request) {
  Credentials credentials;
  credentials.authorization = request.Header("Authorization");
  // As Anthropic's clients send it.
  if (credentials.authorization.empty()) credentials.api_key = request.Header("x-api-key");
  if (!tenants.trusted_header().empty()) credentials.tenant = request.Header(tenants.trusted_header());
  return tenants.Identify(credentials, AccessOf(request.path));
}

}  // namespace

HttpHandler MakeHttpHandler(ServingPipeline& pipeline) {
  const auto api = std::make_shared<const HttpApi>(pipeline);
  const auto router = std::make_shared<Router>();
  const auto simple = [&](const char* path, HttpResponse (*answer)(const HttpApi&)) {
    router->AddSimple("GET", path, [api, answer](const HttpRequest&) { return answer(*api); });
  };
  const auto post = [&](const char* path, asio::awaitable<void> (*handle)(const HttpApi&, HttpExchange&)) {
    router->Add("POST", path, [api, handle](HttpExchange& exchange) { return handle(*api, exchange); });
  };
  const auto under = [&](const char* method, const char* path,
                         HttpResponse (*answer)(const HttpApi&, const HttpRequest&)) {
    router->AddSimple(method, path, [api, answer](const HttpRequest& request) { return answer(*api, request); });
  };
  simple("/", [](const HttpApi&) { return WebPage(); });
  router->Add("GET", "/quire/stats", [api](HttpExchange& exchange) { return GetStats(*api, exchange); });
  simple("/health", Health);
  simple("/version", [](const HttpApi&) { return JsonResponse({{"version", kVersion}}); });
  simple("/metrics", GetMetrics);
  simple("/v1/models", ListModels);
  under("GET", "/v1/models/*", GetModel);
  simple("/tokenizer_info", TokenizerInfo);
  post("/tokenize", Tokenize);
  post("/detokenize", Detokenize);
  post("/v1/completions", CreateCompletion);
  post("/v1/chat/completions", CreateChatCompletion);
  post("/v1/embeddings", CreateEmbeddings);
  post("/v1/responses", CreateResponse);
  router->Add("GET", "/v1/responses/*", [api](HttpExchange& exchange) { return GetStoredResponse(*api, exchange); });
  under("DELETE", "/v1/responses/*", DeleteStoredResponse);
  post("/v1/messages", CreateMessage);
  post("/v1/messages/count_tokens", CountMessageTokens);
  return [api, router](HttpExchange& exchange) {
    HttpRequest& request = exchange.request();
    if (IsOpen(request.path)) return router->Handle(exchange);
    absl::StatusOr<TenantPtr> tenant = IdentifyCaller(api->pipeline.tenants(), request);
    if (!tenant.ok()) return exchange.Respond(ErrorResponse(tenant.status(), ErrorFormOf(request)));
    request.tenant = *std::move(tenant);
    return router->Handle(exchange);
  };
}

HttpRefusalObserver NoteHttpRefusals(ServingPipeline& pipeline) {
  return [&pipeline](const HttpRequest& request, absl::StatusCode code) {
    pipeline.Refuse(OriginOf(request), absl::Status(code, ""));
  };
}

}  // namespace quire
