#include "server/http/stats.h"

#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "server/http/http_errors.h"
#include "server/http/json.h"
#include "server/http/wakeup.h"
#include "server/status_details.h"

namespace quire {
namespace {

// Null: there is no such tier.
Json ToJson(const TierStats& stats) {
  if (stats.capacity == 0) return nullptr;
  return {{"capacity", stats.capacity},
          {"pages", stats.pages},
          {"page_bytes", stats.page_bytes},
          {"pages_read_total", stats.pages_read},
          {"pages_written_total", stats.pages_written},
          {"pages_evicted_total", stats.pages_evicted},
          {"pages_refused_total", stats.pages_refused},
          {"failures_total", stats.failures}};
}

Json ToJson(const EngineStats& stats) {
  return {{"requests_running", stats.requests_running},
          {"requests_waiting", stats.requests_waiting},
          {"kv_pages_total", stats.blocks.total},
          {"kv_pages_used", stats.blocks.used},
          {"kv_pages_shared", stats.blocks.shared},
          {"kv_pages_cached", stats.blocks.cached},
          {"kv_pages_free", stats.blocks.free},
          {"kv_pages_leased", stats.blocks.leased},
          {"kv_pages_pinned", stats.blocks.pinned},
          {"leases", stats.leases},
          {"prompt_tokens_total", stats.prompt_tokens_total},
          {"cached_tokens_total", stats.cached_tokens_total},
          {"completion_tokens_total", stats.completion_tokens_total},
          {"preemptions_total", stats.preemptions_total},
          {"kv_host", ToJson(stats.host_tier)},
          {"kv_disk", ToJson(stats.disk_tier)}};
}

Json ToJson(const TenantUsage& usage) {
  return {{"tenant", usage.tenant},
          {"requests_alive", usage.requests_alive},
          {"requests_total", usage.requests_total},
          {"refused_total", usage.refused_total},
          {"prompt_tokens_total", usage.prompt_tokens_total},
          {"cached_tokens_total", usage.cached_tokens_total},
          {"completion_tokens_total", usage.completion_tokens_total}};
}

}  // namespace

asio::awaitable<void> GetStats(const HttpApi& api, HttpExchange& exchange) {
  auto done = Wakeup::Make(exchange.executor());
  const absl::Cleanup close = [&done] { done->Close(); };
  const auto stats = std::make_shared<EngineStats>();  // The engine thread's until `done`.
  const bool posted = api.pipeline.TryRunOnEngine([done, stats](const Engine& engine) {
    *stats = engine.stats();
    done->Notify();
  });
  if (!posted) {
    co_await exchange.Respond(ErrorResponse(TryAgainLater("the engine has too many messages to read")));
    co_return;
  }
  co_await done->Wait();
  Json answer = ToJson(*stats);
  answer["tenants"] = Json::array();
  for (const TenantUsage& usage : api.pipeline.tenant_usage()) answer["tenants"].push_back(ToJson(usage));
  HttpResponse response = JsonResponse(answer);
  co_await exchange.Respond(std::move(response));
}

}  // namespace quire
