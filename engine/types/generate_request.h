// What the engine is asked to do. Text does not reach the engine: a request arrives as tokens and leaves as tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "block_manager/ids.h"
#include "block_manager/lease.h"
#include "engine/sampling/sampling_params.h"
#include "engine/sampling/token_constraint.h"
#include "engine/types/tenant_share.h"

namespace quire {

// Chosen by the caller of Engine::Submit; unique among the requests alive.
using RequestId = uint64_t;

// A lease that is wanted on behalf of a cache salt (see block_manager/lease.h).
struct LeaseRequest {
  LeaseKind kind = LeaseKind::kPreferred;
  bool or_preferred = false;  // Where no more can be pinned.
  int priority = 0;
  absl::Duration ttl = absl::InfiniteDuration();  // From the moment on that it is taken.
  LeaseLimits limits = {};                        // Of the owner.
};

struct GenerateRequest {
  RequestId id = 0;
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  // No token is wanted, but the prompt's embedding: see SequenceOutput. `sampling` is that of one sample, without
  // log-probabilities, and otherwise unused.
  bool embed = false;
  // What every sample's output must look like, in its state before the first token; null: anything. An output that is
  // complete ends with FinishReason::kStop, whatever min_tokens and ignore_eos say.
  std::shared_ptr<const TokenConstraint> constraint;
  TenantShare tenant = {};                     // Whose it is.
  int priority = 0;                            // Smaller first, among those of the tenant.
  uint64_t cache_salt = 0;                     // Derived by the server from the tenant, never sent by a client.
  absl::Time arrival = absl::InfinitePast();   // When the server accepted it; InfinitePast: at Submit.
  absl::Time deadline = absl::InfiniteFuture();
  // Taken of what the first sample has computed, at its end, before anything can be evicted: see SequenceOutput. A
  // request that fails takes none.
  std::optional<LeaseRequest> lease = {};
};

}  // namespace quire
