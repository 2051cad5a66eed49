#include "tests/sim/workload.h"

#include <algorithm>
#include <memory>

#include "tests/fakes/fake_constraint.h"

namespace quire {

int TenantOf(const SamplingParams& params) { return static_cast<int>(params.seed % SimConfig::kMaxTenants); }

uint64_t SaltOf(int tenant) { return 77 + static_cast<uint64_t>(tenant); }

Workload::Workload(const SimConfig& config, SimRandom& random)
    : config_(config),
      random_(random),
      longest_(config.LongestSequence()) {
  for (int i = 0; i < config.num_families; ++i) families_.push_back(RandomTokens(config.max_prompt));
}

std::vector<TokenId> Workload::RandomTokens(int length) {
  std::vector<TokenId> tokens(length);
  for (TokenId& token : tokens) token = random_.Between(0, config_.engine.vocab_size - 1);
  return tokens;
}

std::vector<TokenId> Workload::MakePrompt() {
  std::vector<TokenId> prompt;
  if (!conversations_.empty() && random_.Chance(config_.percent_follow_up)) {
    prompt = conversations_[random_.Between(0, static_cast<int>(conversations_.size()) - 1)];
  } else {
    prompt = families_[random_.Between(0, config_.num_families - 1)];
    prompt.resize(random_.Between(0, static_cast<int>(prompt.size())));
  }
  const std::vector<TokenId> suffix = RandomTokens(random_.Chance(20) ? 0 : random_.LogBetween(1, 32));
  prompt.insert(prompt.end(), suffix.begin(), suffix.end());
  if (prompt.empty()) prompt = RandomTokens(1);
  if (static_cast<int>(prompt.size()) > longest_ - 1) prompt.resize(longest_ - 1);
  return prompt;
}

GenerateRequest Workload::MakeRequest(RequestId id, absl::Time now, bool floods) {
  GenerateRequest request;
  request.id = id;
  request.prompt = MakePrompt();
  request.priority = random_.Between(0, config_.num_priorities - 1);
  if (random_.Chance(config_.percent_deadline)) request.deadline = now + absl::Milliseconds(random_.Between(0, 400));

  SamplingParams& sampling = request.sampling;
  if (config_.percent_flood > 0) floods |= random_.Chance(config_.percent_flood);
  const int tenant = floods ? 0 : random_.Between(0, config_.num_tenants - 1);
  request.tenant = config_.tenants[tenant];
  request.cache_salt = SaltOf(tenant);
  sampling.seed = random_.Bits() / SimConfig::kMaxTenants * SimConfig::kMaxTenants + static_cast<uint64_t>(tenant);
  sampling.temperature = random_.Chance(30) ? 0.0f : 1.0f;
  const int room = longest_ - static_cast<int>(request.prompt.size());
  const int most = std::min(room, config_.max_output);
  // Unset, max_tokens is all the room there is; so that the expectation is known, that is only tried where it is small.
  sampling.max_tokens = room <= config_.max_output && random_.Chance(10) ? 0 : random_.Between(1, most);
  sampling.n = random_.Between(1, config_.max_samples);
  sampling.ignore_eos = random_.Chance(30);
  if (random_.Chance(20)) sampling.min_tokens = random_.Between(0, sampling.max_tokens);
  if (random_.Chance(config_.percent_stop_tokens)) sampling.stop_token_ids = RandomTokens(random_.Between(1, 2));
  if (random_.Chance(config_.percent_logprobs)) sampling.logprobs = random_.Between(0, 2);
  if (random_.Chance(config_.percent_prompt_logprobs)) sampling.prompt_logprobs = random_.Between(0, 2);
  if (config_.percent_embed > 0 && random_.Chance(config_.percent_embed)) MakeEmbedding(request);
  if (!request.embed && random_.Chance(config_.percent_constrained)) {
    request.constraint = std::make_shared<FakeConstraint>(random_.Bits(), config_.engine.vocab_size,
                                                          config_.engine.eos_token_ids, random_.Between(1, 2 * most));
  }
  if (config_.percent_leased > 0 && random_.Chance(config_.percent_leased)) request.lease = MakeLease();
  return request;
}

LeaseRequest Workload::MakeLease() {
  LeaseRequest lease;
  lease.kind = random_.Chance(50) ? LeaseKind::kPinned : LeaseKind::kPreferred;
  lease.or_preferred = random_.Chance(50);
  lease.priority = random_.Between(0, 2);
  if (random_.Chance(70)) lease.ttl = absl::Milliseconds(random_.LogBetween(1, 2000));
  return lease;
}

void Workload::MakeEmbedding(GenerateRequest& request) {
  request.embed = true;
  request.sampling.n = 1;
  request.sampling.logprobs = request.sampling.prompt_logprobs = -1;
  // Sometimes as long as a sequence can be: no new token needs room.
  if (random_.Chance(10)) request.prompt = RandomTokens(longest_);
}

GenerateRequest Workload::MakeBadRequest(RequestId id, absl::Time now) {
  GenerateRequest request = MakeRequest(id, now);
  switch (random_.Between(0, 4)) {
    case 0:
      request.prompt.clear();
      break;
    case 1:
      request.prompt.back() = random_.Chance(50) ? -1 : config_.engine.vocab_size;
      break;
    case 2:
      request.prompt.assign(longest_ + request.embed, 0);
      break;
    case 3:
      request.embed = false;
      request.sampling.max_tokens = longest_ - static_cast<int>(request.prompt.size()) + 1;
      break;
    case 4:
      request.sampling.n = config_.engine.max_num_seqs + 1;
      break;
  }
  return request;
}

void Workload::Remember(std::vector<TokenId> tokens) { conversations_.push_back(std::move(tokens)); }

}  // namespace quire
