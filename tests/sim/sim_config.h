// One simulation's circumstances. Drawn as a swarm: each seed leaves most features out, so that together they meet in
// combinations that an average of everything would never show.
#pragma once

#include <string>

#include "engine/engine.h"
#include "tests/sim/sim_random.h"

namespace quire {

struct SimConfig {
  EngineOptions engine;

  // What requests are like.
  int num_requests = 0;
  int arrivals_per_step = 0;  // Percent: 100 is one a step on average.
  int max_prompt = 0;         // Tokens.
  int max_output = 0;
  int num_tenants = 1;   // At most kMaxTenants.
  int percent_flood = 0;  // Requests that are the first tenant's whatever is drawn.
  bool endless_flood = false;  // The first tenant's requests come until those of all others are over.
  int num_families = 1;  // Sets of prompts that begin alike.
  int num_priorities = 1;
  int max_samples = 1;
  int percent_follow_up = 0;  // Prompts that extend an earlier request's prompt and output.
  int percent_logprobs = 0;
  int percent_prompt_logprobs = 0;
  int percent_stop_tokens = 0;
  int percent_embed = 0;  // Requests for embeddings.
  int percent_constrained = 0;
  int percent_deadline = 0;
  int percent_poisoned = 0;  // Requests one of whose rows is not finite.
  int page_events_from = 0;  // The step at which somebody asks for page events.

  // What goes wrong, percent of steps.
  int percent_cancel = 0;
  int percent_finish_sample = 0;
  int percent_step_failure = 0;
  int percent_clock_jump = 0;
  int percent_clear_cache = 0;
  int percent_bad_request = 0;

  static constexpr int kMaxTenants = 4;
  TenantShare tenants[kMaxTenants];
};

SimConfig DrawConfig(SimRandom& random);
std::string ToString(const SimConfig& config);

}  // namespace quire
