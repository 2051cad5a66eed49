// Makes the requests of a simulation: families of prompts that begin alike, conversations that go on, several tenants.
#pragma once

#include <vector>

#include "engine/types/generate_request.h"
#include "tests/sim/sim_config.h"
#include "tests/sim/sim_random.h"

namespace quire {

// Whose a request is can be told from its seed, which reaches the model.
int TenantOf(const SamplingParams& params);
// The root of a tenant's keys.
uint64_t SaltOf(int tenant);

class Workload {
 public:
  Workload(const SimConfig& config, SimRandom& random);

  // A request that the engine should take, unless its queue is full.
  // `floods`: it is the first tenant's.
  GenerateRequest MakeRequest(RequestId id, absl::Time now, bool floods = false);
  // One that it must refuse.
  GenerateRequest MakeBadRequest(RequestId id, absl::Time now);

  // A conversation that later prompts may go on with.
  void Remember(std::vector<TokenId> tokens);
  // Something that a cache may hold a prefix of.
  std::vector<TokenId> AnyPrefix() { return MakePrompt(); }
  LeaseRequest MakeLease();

 private:
  std::vector<TokenId> RandomTokens(int length);
  std::vector<TokenId> MakePrompt();
  void MakeEmbedding(GenerateRequest& request);

  const SimConfig& config_;
  SimRandom& random_;
  const int longest_;  // Prompt and output, tokens.
  std::vector<std::vector<TokenId>> families_;
  std::vector<std::vector<TokenId>> conversations_;
};

}  // namespace quire
