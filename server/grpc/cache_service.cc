#include "server/grpc/cache_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/engine_call.h"
#include "server/grpc/kv_event_reactor.h"
#include "server/grpc/lease_conversion.h"
#include "server/grpc/page_event_format.h"
#include "server/grpc/pin_reactor.h"
#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr int kDefaultPrefixes = 50;
constexpr int kMaxPrefixes = 1000;
constexpr size_t kMaxLeases = 1000;

void Convert(const CachedPrefix& prefix, const Tokenizer& tokenizer, v1::CachedPrefix& proto) {
  proto.set_tokens(prefix.num_tokens);
  proto.set_pages(prefix.num_blocks);
  proto.set_used_pages(prefix.num_used_blocks);
  proto.set_leased_pages(prefix.num_leased_blocks);
  proto.mutable_first_token_ids()->Add(prefix.first_tokens.begin(), prefix.first_tokens.end());
  proto.set_first_text(Decode(tokenizer, prefix.first_tokens, /*keep_special=*/true).value_or(""));
}

}  // namespace

absl::StatusOr<uint64_t> CacheService::OwnerOf(const grpc::CallbackServerContext& context, Access access) const {
  ASSIGN_OR_RETURN(const TenantPtr tenant, IdentifyCaller(pipeline_.tenants(), context, access));
  return pipeline_.CacheSaltOf(*tenant);
}

grpc::ServerUnaryReactor* CacheService::Probe(grpc::CallbackServerContext* context, const v1::ProbeRequest* request,
                                              v1::ProbeResponse* response) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  return WithTokens(context, ParsePrompt(parser_, request->prompt(), "prompt"),
                    [owner = *owner, response](const Engine& engine, const std::vector<TokenId>& tokens) {
                      const CachedTokens cached = engine.Probe(tokens, owner);
                      response->set_prompt_tokens(static_cast<int32_t>(tokens.size()));
                      response->set_cached_tokens(cached.total());
                      const auto add = [response](const char* tier, int num_tokens) {
                        v1::TierHit& hit = *response->add_tiers();
                        hit.set_tier(tier);
                        hit.set_cached_tokens(num_tokens);
                      };
                      add("pool", cached.pool);
                      const EngineStats stats = engine.stats();
                      if (stats.host_tier.capacity > 0) add("host", cached.tiers[static_cast<int>(KvTier::kHost)]);
                      if (stats.disk_tier.capacity > 0) add("disk", cached.tiers[static_cast<int>(KvTier::kDisk)]);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* CacheService::List(grpc::CallbackServerContext* context, const v1::ListCacheRequest* request,
                                             v1::ListCacheResponse* response) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  const int max_prefixes = request->has_max_prefixes() ? request->max_prefixes() : kDefaultPrefixes;
  if (max_prefixes < 0 || max_prefixes > kMaxPrefixes) {
    return Finished(context, InvalidField("max_prefixes",
                                         absl::StrCat("must be in [0, ", kMaxPrefixes, "], got ", max_prefixes)));
  }
  return CallEngine(context, pipeline_, [this, owner = *owner, max_prefixes, response](Engine& engine) {
    for (const Lease& lease : engine.ListLeases(owner, kMaxLeases, absl::Now())) {
      quire::Convert(lease, *response->add_leases());
    }
    for (const CachedPrefix& prefix : engine.blocks().ListPrefixes(owner, static_cast<size_t>(max_prefixes))) {
      Convert(prefix, *pipeline_.model().tokenizer, *response->add_prefixes());
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CacheService::Pin(grpc::CallbackServerContext* context, const v1::PinRequest* request,
                                            v1::PinResponse* response) {
  const absl::StatusOr<TenantPtr> tenant = IdentifyCaller(pipeline_.tenants(), *context);
  if (!tenant.ok()) return Finished(context, tenant.status());
  absl::StatusOr<LeaseRequest> lease = ParseLease(*request);
  if (!lease.ok()) return Finished(context, lease.status());
  lease->limits = pipeline_.LeaseLimitsOf(**tenant);
  absl::StatusOr<ParsedPrompt> prompt = ParsePrompt(parser_, request->prompt(), "prompt");
  if (!request->compute() || !prompt.ok()) {
    return WithTokens(
        context, std::move(prompt),
        [owner = pipeline_.CacheSaltOf(**tenant), lease = *lease, response](Engine& engine,
                                                                            const std::vector<TokenId>& tokens) {
          const absl::StatusOr<Lease> taken = engine.Pin(tokens, owner, lease, absl::Now());
          if (taken.ok()) quire::Convert(*taken, *response->mutable_lease());
          return taken.status();
        });
  }
  // An embedding computes a prompt and nothing after it.
  PipelineRequest computing;
  computing.prompt = std::move(prompt->prompt);
  computing.prompt_field = std::move(prompt->field);
  computing.generate.embed = true;
  computing.generate.lease = *lease;
  return PinReactor::Start(context, pipeline_, std::move(computing), response);
}

grpc::ServerUnaryReactor* CacheService::Unpin(grpc::CallbackServerContext* context, const v1::UnpinRequest* request,
                                              v1::UnpinResponse* /*response*/) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  return CallEngine(context, pipeline_, [owner = *owner, id = request->lease_id()](Engine& engine) {
    return engine.Unpin(owner, id, absl::Now());
  });
}

grpc::ServerUnaryReactor* CacheService::Evict(grpc::CallbackServerContext* context, const v1::EvictRequest* request,
                                              v1::EvictResponse* response) {
  const absl::StatusOr<uint64_t> caller = OwnerOf(*context, request->all() ? Access::kEverybody : Access::kOwn);
  if (!caller.ok()) return Finished(context, caller.status());
  const uint64_t owner = *caller;
  const auto evict = [&](auto choose) {
    return CallEngine(context, pipeline_, [choose, response](Engine& engine) {
      response->set_evicted_pages(choose(engine));
      return absl::OkStatus();
    });
  };
  if (request->own()) return evict([owner](Engine& engine) { return engine.EvictOwner(owner); });
  if (request->all()) return evict([](Engine& engine) { return engine.EvictAll(); });
  if (!request->has_prefix()) {
    return Finished(context, InvalidField("what", "must be set: prefix, own (true) or all (true)"));
  }
  return WithTokens(context, ParsePrompt(parser_, request->prefix(), "prefix"),
                    [owner, response](Engine& engine, const std::vector<TokenId>& tokens) {
                      response->set_evicted_pages(engine.EvictPrefix(tokens, owner));
                      return absl::OkStatus();
                    });
}

grpc::ServerWriteReactor<v1::PageEvents>* CacheService::Subscribe(grpc::CallbackServerContext* context,
                                                                  const v1::SubscribeRequest* request) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  return KvEventReactor<PageEventFormat>::Start(context, pipeline_, owner.status(),
                                                PageEventFormat(request->sequence(), owner.value_or(0)));
}

grpc::ServerUnaryReactor* CacheService::WithTokens(grpc::CallbackServerContext* context,
                                                   absl::StatusOr<ParsedPrompt> prompt, TokensJob job) {
  if (!prompt.ok()) return Finished(context, prompt.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool posted = pipeline_.TryPostText(
      [this, context, reactor, prompt = *std::move(prompt), job = std::move(job)]() mutable {
        absl::StatusOr<std::vector<TokenId>> tokens = pipeline_.MakePromptTokens(prompt.prompt, prompt.field);
        if (!tokens.ok()) return reactor->Finish(ToGrpcStatus(tokens.status(), *context));
        FinishOnEngine(context, reactor, pipeline_,
                       [job = std::move(job), tokens = *std::move(tokens)](Engine& engine) { return job(engine, tokens); });
      });
  if (!posted) reactor->Finish(ToGrpcStatus(TryAgainLater("too many texts wait to be tokenised"), *context));
  return reactor;
}

}  // namespace quire
